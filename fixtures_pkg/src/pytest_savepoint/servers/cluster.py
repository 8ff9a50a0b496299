"""One data directory with the postgres process that serves it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.account import Account
from pytest_savepoint.servers.binaries import Binaries
from pytest_savepoint.servers.readiness import NotReadyError, version_when_ready

__all__ = ["Cluster", "Running"]

_LONGEST_SOCKET_PATH = 100  # macOS allows 104 bytes, Linux 108
_PAUSE = 0.01
# After kill -9 the old backends need a moment to notice; a free port may be taken before postgres binds it.
_PASSING_FAULTS = ("pre-existing shared memory block", "Address already in use", "lock file")


@dataclass(frozen=True)
class Running:
    """A postgres that answers."""

    address: Address
    version: str


class Cluster:
    """A data directory in `folder`, made on first use; whoever changes it holds the lock of the folder.

    :param settings: the server settings, as in postgresql.conf.
    """

    def __init__(self, folder: Path, binaries: Binaries, account: Account, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._binaries = binaries
        self._account = account
        self._settings = settings
        self._data = folder / "data"
        self._log = folder / "log"
        self._socket = folder / "socket"

    def serve(self, *, timeout: float) -> Running:
        """Give the running server; start it when it does not run, and make the data directory when there is none.

        :raises ServerError: with the end of the log when it does not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if self._was_cut_off_by_a_reboot():
            self.remove()
        is_old = self._data.exists()
        try:
            return self._start(deadline)
        except ServerError:
            if not is_old:
                raise
        # Durability is off, so a crash of the machine can break the files; nothing in them is worth a repair.
        self.remove()
        return self._start(time.monotonic() + timeout)

    def stop(self) -> None:
        """Stop postgres and wait until it has ended; harmless when it does not run."""
        for kill, seconds in ((signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            pid = self._living_postmaster()
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kill)
            deadline = time.monotonic() + seconds
            while self._living_postmaster() and time.monotonic() < deadline:
                time.sleep(_PAUSE)

    def remove(self) -> None:
        """Stop postgres and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def running(self, *, timeout: float) -> Running | None:
        """The server when it runs and answers within `timeout` seconds."""
        if self._living_postmaster() is None:
            return None
        try:
            return self._wait(timeout)
        except NotReadyError:
            return None

    def log_tail(self, lines: int) -> str:
        """The last lines of the log."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _was_cut_off_by_a_reboot(self) -> bool:
        try:
            same_boot = (self.folder / "boot").read_text() == _boot()
        except OSError:
            return self._data.exists()
        return not same_boot and (self._data / "postmaster.pid").exists()

    def _start(self, deadline: float) -> Running:
        self._make(deadline)
        while True:
            launched = self._living_postmaster() or self._launch()
            try:
                return self._wait(deadline - time.monotonic(), partial(self._serves, launched))
            except NotReadyError as fault:
                tail = self.log_tail(40)
                is_passing = any(text in tail for text in _PASSING_FAULTS) and not self._serves(launched)
                if is_passing and time.monotonic() < deadline:
                    time.sleep(_PAUSE)
                    continue
                raise ServerError(
                    f"PostgreSQL {self._binaries.major} from {self._binaries.folder} did not start: {fault}.\n"
                    f"The end of its log ({self._log}):\n{tail or '(empty)'}\n"
                    "Look at postgres-settings if you set it; set server-timeout for a slow machine."
                ) from fault

    def _make(self, deadline: float) -> None:
        if self._data.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._account.make_folder(self.folder)
        self._account.make_folder(self._socket)
        self._account.write(self.folder / "password", secrets.token_hex(16))
        self._account.write(self.folder / "boot", _boot())
        unfinished = self.folder / "unfinished"
        self._initdb(unfinished, deadline)
        self._account.write(
            unfinished / "pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        self._account.write(unfinished / "postgresql.conf", "include 'savepoint.conf'\n")
        unfinished.rename(self._data)

    def _initdb(self, data: Path, deadline: float) -> None:
        # Code-point order with Unicode case rules, the same on every machine and as in our containers.
        ctype = ["--lc-ctype=C.UTF-8"] if sys.platform == "linux" else []
        checksums = ["--no-data-checksums"] if self._binaries.major >= 18 else []
        command: list[str | Path] = [
            self._binaries.program("initdb"), "--pgdata", data, "--username=postgres",
            "--pwfile", self.folder / "password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", *ctype,
            *checksums, "--no-sync", "--no-instructions",
        ]  # fmt: skip
        try:
            made = self._account.run(command, timeout=max(deadline - time.monotonic(), 1))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServerError(f"initdb of PostgreSQL {self._binaries.major} did not run: {error}") from error
        if made.returncode:
            raise ServerError(f"initdb of PostgreSQL {self._binaries.major} failed in {data}:\n{made.stdout.strip()}")

    def _launch(self) -> int:
        self._account.write(self._data / "savepoint.conf", self._configuration(_free_port()))
        self._log.unlink(missing_ok=True)
        # The shell ends at once, so postgres belongs to nobody here and outlives whoever started it.
        script = 'exec 3>"$1" && shift && { exec "$@" >&3 2>&3 3>&- & } && echo $!'
        launched = self._account.run(
            ["/bin/sh", "-c", script, "savepoint", self._log, self._binaries.program("postgres"), "-D", self._data],
            timeout=10,
        )
        return int(launched.stdout)

    def _configuration(self, port: int) -> str:
        sockets = str(self._socket) if self._has_socket() else ""
        ours = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": sockets}
        lines = [f"{name} = '{_quoted(value)}'" for name, value in (ours | dict(self._settings)).items()]
        return "\n".join(lines) + "\n"

    def _has_socket(self) -> bool:
        return len(str(self._socket / ".s.PGSQL.65535").encode()) <= _LONGEST_SOCKET_PATH

    def _wait(self, timeout: float, is_alive: Callable[[], bool] = lambda: True) -> Running:
        address = self._address()
        return Running(address, version_when_ready(address, timeout=timeout, pause=_PAUSE, is_alive=is_alive))

    def _address(self) -> Address:
        configured = (self._data / "savepoint.conf").read_text()
        port = next(line for line in configured.splitlines() if line.startswith("port = ")).split("'")[1]
        return Address(
            host="127.0.0.1",
            port=int(port),
            user="postgres",
            password=Secret((self.folder / "password").read_text()),
            socket_directory=str(self._socket) if self._has_socket() else None,
        )

    def _living_postmaster(self) -> int | None:
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", maxsplit=1)[0])
        except (OSError, ValueError):
            return None
        return pid if self._serves(pid) else None

    def _serves(self, pid: int) -> bool:
        # A pid alone may have been given to another program since; a dead child that nobody reaps has no command line.
        if Path("/proc/self/cmdline").exists():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                return False
        else:
            asked = ["ps", "-o", "command=", "-p", str(pid)]
            command = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout
        return str(self._data) in command


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        asked = ["sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
