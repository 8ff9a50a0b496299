"""Redis in a Docker container, for machines that have no redis-server of their own."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_savepoint.errors import ServerError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.docker import Container, docker_obstacle
from pytest_savepoint.services.redis_server import DATABASES, answers

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["NEWEST_IMAGE", "RedisContainer"]

NEWEST_IMAGE = "redis:8"
_PORT = 6379
_PAUSE = 0.05
_PASSWORD = "SAVEPOINT_REDIS_PASSWORD"  # noqa: S105 # the name of a variable
# The configuration comes through a pipe: a command line, inside the container or not, is everybody's to read.
_SERVE = (
    f'printf "%s\\n" "bind * -::*" "requirepass ${_PASSWORD}" "databases {DATABASES}" "save \\"\\"" "appendonly no" "dir /savepoint"'
    " | exec $(command -v redis-server || command -v valkey-server) -"
)


class RedisContainer:
    """A redis-server of ours in a container, with a password, and nothing written to disk."""

    def __init__(self, url: Secret, container: Container) -> None:
        self.url = url
        self._container = container

    @classmethod
    def start(cls, image: str, *, cache: Path, timeout: float) -> Self:
        """Start it and wait until it answers.

        :param cache: the folder whose `clean` removes what a killed run leaves.
        :param timeout: seconds.
        :raises ServerError: when Docker or the image is not there, or the server does not answer in time.
        """
        if obstacle := docker_obstacle():
            raise ServerError(
                f"services asks for redis, which cannot run in a container of {image}: {obstacle}.\n"
                "Install redis-server (apt-get install redis-server) or Docker, or give a server in redis-url."
            )
        password = secrets.token_hex(16)
        container = Container.run(
            cache, image, remedy="Set redis-image to an image that is there, or install redis-server.",
            options=[
                "--publish", f"127.0.0.1::{_PORT}", "--user", "65534:65534", "--tmpfs", "/savepoint:rw,mode=1777",
                "--entrypoint", "sh",
            ],
            command=["-c", _SERVE], environ={_PASSWORD: password},
        )  # fmt: skip
        try:
            host, port = _wait(container, image, timeout)
        except BaseException:
            container.remove()
            raise
        return cls(Secret(f"redis://:{password}@{host}:{port}/0"), container)

    def stop(self) -> None:
        """Remove the container."""
        self._container.remove()


def _wait(container: Container, image: str, timeout: float) -> tuple[str, int]:
    deadline = time.monotonic() + timeout
    while container.is_running() and time.monotonic() < deadline:
        with contextlib.suppress(ServerError):  # it may have ended since
            host, port = container.published(_PORT)
            if answers(host, port):
                return host, port
        time.sleep(_PAUSE)  # before any loop or test: nothing else waits
    raise ServerError(
        f"Redis in a container of {image} did not start, or did not answer within {timeout:g} s.\n"
        f"The end of the container's log:\n{container.log_tail()}\n"
        "Look at redis-image; set server-timeout for a slow machine."
    )
