"""The postgres process that serves one data directory: whether it lives, where it listens, how it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.readiness import NotReadyError, version_when_ready

__all__ = ["PAUSE", "Postmaster", "Running"]

PAUSE = 0.01
_LONGEST_SOCKET_PATH = 100  # macOS allows 104 bytes, Linux 108


@dataclass(frozen=True)
class Running:
    """A postgres that answers."""

    address: Address
    version: str


class Postmaster:
    """The process of the data directory in `folder`; whoever stops or removes it holds the lock of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.socket = folder / "socket"

    def running(self, *, timeout: float) -> Running | None:
        """The server when it runs and answers within `timeout` seconds."""
        if self.living() is None:
            return None
        try:
            return self.wait(timeout)
        except NotReadyError:
            return None

    @property
    def is_kept(self) -> bool:
        """It is to run although nobody uses it, because somebody wants to look at what is on it."""
        return (self.folder / "kept").exists()

    def stop(self) -> None:
        """Stop postgres and wait until it has ended; harmless when it does not run."""
        for kill, seconds in ((signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            pid = self.living()
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kill)
            deadline = time.monotonic() + seconds
            while self.living() and time.monotonic() < deadline:
                time.sleep(PAUSE)

    def remove(self) -> None:
        """Stop postgres and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self, lines: int) -> str:
        """The last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def has_socket(self) -> bool:
        """Whether the path of the socket is short enough for the kernel."""
        return len(str(self.socket / ".s.PGSQL.65535").encode()) <= _LONGEST_SOCKET_PATH

    def wait(self, timeout: float, is_alive: Callable[[], bool] = lambda: True) -> Running:
        """Wait until it answers.

        :raises NotReadyError: when it does not within `timeout` seconds, or is not alive any more.
        """
        address = self._address()
        return Running(address, version_when_ready(address, timeout=timeout, pause=PAUSE, is_alive=is_alive))

    def _address(self) -> Address:
        configured = (self.data / "savepoint.conf").read_text()
        port = next(line for line in configured.splitlines() if line.startswith("port = ")).split("'")[1]
        return Address(
            host="127.0.0.1",
            port=int(port),
            user="postgres",
            password=Secret((self.folder / "password").read_text()),
            socket_directory=str(self.socket) if self.has_socket() else None,
        )

    def living(self) -> int | None:
        """The id of the process that serves the data directory."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", maxsplit=1)[0])
        except (OSError, ValueError):
            return None
        return pid if self.serves(pid) else None

    def serves(self, pid: int) -> bool:
        """Whether the process `pid` is the postgres of this data directory."""
        # A pid alone may have been given to another program since; a dead child that nobody reaps has no command line.
        if Path("/proc/self/cmdline").exists():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                return False
        else:
            asked = ["ps", "-o", "command=", "-p", str(pid)]
            command = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout
        return str(self.data) in command
