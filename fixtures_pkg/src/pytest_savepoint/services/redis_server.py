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

__all__ = ["OwnRedis"]

_PAUSE = 0.02
_DATABASES = 1_024
# The shell waits for the end of its input, which comes when this process ends, by whatever: no server is left behind.
_UNTIL_WE_END = '"$@" & server=$!; cat >/dev/null; kill "$server"; wait "$server"'


class OwnRedis:
    """A redis-server of ours: on loopback, with a password, and nothing written to disk."""

    def __init__(self, url: Secret, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.url = url
        self._process = process
        self._folder = folder

    @classmethod
    def start(cls, *, timeout: float) -> Self:
        """Start it and wait until it answers.

        :param timeout: seconds.
        :raises ServerError: when there is no redis-server, or it does not answer in time.
        """
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise ServerError(
                "services asks for redis, but neither redis-server nor valkey-server is on PATH.\n"
                "Install it (apt-get install redis-server), or give a server in redis-url."
            )
        folder = Path(tempfile.mkdtemp(prefix="savepoint-redis-"))
        port, password = _free_port(), secrets.token_hex(16)
        log = folder / "log"
        config = folder / "redis.conf"  # in a folder of mode 0700: a command line is everybody's to read
        config.write_text(
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndatabases {_DATABASES}\nsave ""\nappendonly no\n'
            f"dir {folder}\nlogfile {log}\n"
        )
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_WE_END, "sh", program, str(config)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        server = cls(Secret(f"redis://:{password}@127.0.0.1:{port}/0"), process, folder)
        deadline = time.monotonic() + timeout
        while not _answers(port):
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


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
