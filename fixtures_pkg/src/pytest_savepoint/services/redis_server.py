"""The machine's own redis-server, for as long as this process lives."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_savepoint.errors import ServerError
from pytest_savepoint.secret import Secret

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DATABASES", "OwnRedis", "answers", "redis_program"]

_PAUSE = 0.02
DATABASES = 1_024
# The shell waits for the end of its input, which comes when this process ends, by whatever: no server is left behind.
_UNTIL_WE_END = '"$@" & server=$!; cat >/dev/null; kill "$server"; wait "$server"'


def redis_program() -> str | None:
    """The path of the machine's own redis-server or valkey-server."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


class OwnRedis:
    """A redis-server of ours: on loopback, with a password, and nothing written to disk."""

    def __init__(self, url: Secret, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.url = url
        self._process = process
        self._folder = folder

    @classmethod
    def start(cls, program: str, *, timeout: float) -> Self:
        """Start it and wait until it answers.

        :param program: the path of redis-server or valkey-server.
        :param timeout: seconds.
        :raises ServerError: when it does not answer in time.
        """
        folder = Path(tempfile.mkdtemp(prefix="savepoint-redis-"))
        port, password = _free_port(), secrets.token_hex(16)
        log = folder / "log"
        config = folder / "redis.conf"  # in a folder of mode 0700: a command line is everybody's to read
        config.write_text(
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndatabases {DATABASES}\nsave ""\nappendonly no\n'
            f"dir {folder}\nlogfile {log}\n"
        )
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_WE_END, "sh", program, str(config)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        server = cls(Secret(f"redis://:{password}@127.0.0.1:{port}/0"), process, folder)
        deadline = time.monotonic() + timeout
        while not answers("127.0.0.1", port):
            if time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2_000:] if log.exists() else ""
                server.stop()
                raise ServerError(f"{program} did not answer within {timeout:g} s.\n{said}")
            time.sleep(_PAUSE)  # before any loop or test: nothing else waits
        return server

    def stop(self) -> None:
        """End the server and forget its folder."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """Whether a Redis answers there, be it that it asks for the password; what forwards a port accepts before it does."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False
