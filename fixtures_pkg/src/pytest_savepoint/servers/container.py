"""PostgreSQL in a Docker container, made by the contract of the official image's environment variables."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.docker import Container, docker_obstacle
from pytest_savepoint.servers.readiness import NotReadyError, version_when_ready
from pytest_savepoint.servers.tuning import tuned_for_tests
from pytest_savepoint.settings import Settings

__all__ = ["ContainerProvider", "kept_notes", "read_note"]

_NEWEST = "18"
_PAUSE = 0.1


def kept_notes(cache: Path) -> list[Path]:
    """The notes by which later runs find kept containers."""
    return list((cache / "containers").glob("*.kept"))


def read_note(note: Path) -> tuple[str, Secret]:
    """The name of a kept container, and its password."""
    kept = json.loads(note.read_text(encoding="utf-8"))
    return kept["container"], Secret(kept["password"])


@dataclass
class ContainerServer:
    """A server in a container of ours, removed when its run ends, unless somebody keeps it."""

    provider: str
    reason: str
    version: str
    address: Address
    _container: Container = field(repr=False)
    _note: Path = field(repr=False)

    def log_tail(self, lines: int = 40) -> str:
        return self._container.log_tail(lines)

    def keep(self) -> None:
        file = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as note:
            json.dump({"container": self._container.name, "password": self.address.password.reveal()}, note)

    def stop(self) -> None:
        if self._note.exists():
            self._container.let_go()
        else:
            self._container.remove()


class ContainerProvider:
    """`docker run` of postgres:<postgres-version>, or of any image that takes the same variables."""

    name = "container"
    remedy = "install Docker and start it"

    def __init__(self, settings: Settings, cache: Path) -> None:
        self._settings = settings
        self._cache = cache
        self._image = settings.postgres_image or f"postgres:{settings.postgres_version or _NEWEST}"

    def obstacle(self) -> str:
        return docker_obstacle()

    def start(self) -> ContainerServer:
        for note in (self._cache / "containers").glob(f"{self._mark}-*.kept"):
            server = self._attach(note)
            if server:
                return server
        password = Secret(secrets.token_hex(16))
        container = self._run(password)
        try:
            return self._wait(container, password)
        except BaseException:
            container.remove()
            raise

    def _run(self, password: Secret) -> Container:
        tuning = [f"{key}={value}" for key, value in tuned_for_tests(self._settings.postgres_settings).items()]
        return Container.run(
            self._cache, self._image,
            remedy="Set postgres-image to an image that is there, or provider to system or embedded.",
            options=[
                "--publish", "127.0.0.1::5432", "--shm-size", "256m",
                # A folder of our own: the image's own data folder moved in version 18 and is a volume on disk.
                "--tmpfs", "/savepoint:rw,mode=1777", "--env", "PGDATA=/savepoint/data",
                "--env", "POSTGRES_INITDB_ARGS=--encoding=UTF8 --lc-collate=C --lc-ctype=C.UTF-8 --no-sync",
            ],
            command=["postgres", *(part for setting in tuning for part in ("-c", setting))],
            environ={"POSTGRES_PASSWORD": password.reveal()},
        )  # fmt: skip

    def _wait(self, container: Container, password: Secret) -> ContainerServer:
        timeout = self._settings.server_timeout
        try:
            host, port = container.published(5432)
            address = Address(host, port, "postgres", password)
            version = version_when_ready(address, timeout=timeout, pause=_PAUSE, is_alive=container.is_running)
        except (NotReadyError, ServerError) as fault:
            raise ServerError(
                f"PostgreSQL in a container of {self._image} did not start: {fault}.\n"
                f"The end of the container's log:\n{container.log_tail()}\n"
                "Look at postgres-image and postgres-settings; set server-timeout for a slow machine."
            ) from fault
        reason = f"a container of {self._image}"
        note = self._cache / "containers" / f"{self._mark}-{container.name}.kept"
        return ContainerServer("container", reason, version, address, container, note)

    @property
    def _mark(self) -> str:
        wanted = f"{self._image} {sorted(self._settings.postgres_settings.items())}"
        return hashlib.sha256(wanted.encode()).hexdigest()[:16]

    def _attach(self, note: Path) -> ContainerServer | None:
        name, password = read_note(note)
        container = Container.attach(self._cache, name)
        if container is None:
            note.unlink(missing_ok=True)
            return None
        return self._wait(container, password)
