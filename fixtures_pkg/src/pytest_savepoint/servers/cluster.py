"""One data directory: made when it is missing, made anew when it is broken, and served by postgres."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.account import Account
from pytest_savepoint.servers.binaries import Binaries
from pytest_savepoint.servers.postmaster import PAUSE, Postmaster, Running
from pytest_savepoint.servers.readiness import NotReadyError

__all__ = ["Cluster"]

# After kill -9 the old backends need a moment to notice; a free port may be taken before postgres binds it.
_PASSING_FAULTS = ("pre-existing shared memory block", "Address already in use", "lock file")


class Cluster(Postmaster):
    """A data directory in `folder`, made on first use; whoever changes it holds the lock of the folder.

    :param settings: the server settings, as in postgresql.conf.
    """

    def __init__(self, folder: Path, binaries: Binaries, account: Account, settings: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._binaries = binaries
        self._account = account
        self._settings = settings

    def serve(self, *, timeout: float) -> Running:
        """Give the running server; start it when it does not run, and make the data directory when there is none.

        :raises ServerError: with the end of the log when it does not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if self._was_cut_off_by_a_reboot():
            self.remove()
        is_old = self.data.exists()
        try:
            return self._start(deadline)
        except ServerError:
            if not is_old or time.monotonic() >= deadline:
                raise
        # Durability is off, so a crash of the machine can break the files; nothing in them is worth a repair.
        self.remove()
        return self._start(deadline)

    def keep(self) -> None:
        """Let it run on when nobody uses it any more."""
        self._account.write(self.folder / "kept", "")

    def _was_cut_off_by_a_reboot(self) -> bool:
        try:
            same_boot = (self.folder / "boot").read_text() == _boot()
        except OSError:
            return self.data.exists()
        return not same_boot and (self.data / "postmaster.pid").exists()

    def _start(self, deadline: float) -> Running:
        self._make(deadline)
        while True:
            launched = self.living() or self._launch()
            try:
                return self.wait(deadline - time.monotonic(), partial(self.serves, launched))
            except NotReadyError as fault:
                tail = self.log_tail(40)
                is_passing = any(text in tail for text in _PASSING_FAULTS) and not self.serves(launched)
                if is_passing and time.monotonic() < deadline:
                    time.sleep(PAUSE)
                    continue
                raise ServerError(
                    f"PostgreSQL {self._binaries.major} from {self._binaries.folder} did not start: {fault}.\n"
                    f"The end of its log ({self.log}):\n{tail or '(empty)'}\n"
                    "Look at postgres-settings if you set it; set server-timeout for a slow machine."
                ) from fault

    def _make(self, deadline: float) -> None:
        if self.data.exists():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self._account.make_folder(self.folder)
        self._account.make_folder(self.socket)
        self._account.write(self.folder / "password", secrets.token_hex(16))
        unfinished = self.folder / "unfinished"
        self._initdb(unfinished, deadline)
        self._account.write(
            unfinished / "pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        self._account.write(unfinished / "postgresql.conf", "include 'savepoint.conf'\n")
        unfinished.rename(self.data)

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
        self._account.write(self.folder / "boot", _boot())
        self._account.write(self.data / "savepoint.conf", self._configuration(_free_port()))
        self.log.unlink(missing_ok=True)
        # The shell ends at once, so postgres belongs to nobody here and outlives whoever started it.
        script = 'exec 3>"$1" && shift && { exec "$@" >&3 2>&3 3>&- & } && echo $!'
        launched = self._account.run(
            ["/bin/sh", "-c", script, "savepoint", self.log, self._binaries.program("postgres"), "-D", self.data],
            timeout=10,
        )
        return int(launched.stdout)

    def _configuration(self, port: int) -> str:
        sockets = str(self.socket) if self.has_socket() else ""
        ours = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": sockets,
            # Inside the data directory, so that nothing stays in shared memory when a killed server is removed.
            "dynamic_shared_memory_type": "mmap",
        }
        lines = [f"{name} = '{_quoted(value)}'" for name, value in (ours | dict(self._settings)).items()]
        return "\n".join(lines) + "\n"


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
