"""A server in a Docker container, made by the contract of the official image's environment variables."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.locks import FileLock
from pytest_savepoint.servers.readiness import NotReadyError, version_when_ready
from pytest_savepoint.servers.tuning import tuned_for_tests
from pytest_savepoint.settings import Settings

__all__ = ["ContainerProvider", "kept_notes", "lease_of", "our_containers", "read_note", "remove_container"]

_NEWEST = "18"
_PAUSE = 0.1
_PULL_SECONDS = 900
_CACHE_LABEL = "savepoint.cache"


def docker(*arguments: str, timeout: float = 60, environ: Mapping[str, str] | None = None) -> str:
    """Run the docker client and give what it says.

    :raises ServerError: with docker's own words when it fails or takes longer than `timeout` seconds.
    """
    command = f"docker {arguments[0]}"
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, errors="replace", check=False, timeout=timeout,
            stdin=subprocess.DEVNULL, env={**os.environ, **(environ or {})},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{command} did not run: {error}") from error
    if done.returncode:
        raise ServerError(f"{command} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def remove_container(name: str) -> None:
    """Remove a container with its volumes; one that is gone is no fault.

    :raises ServerError: with docker's own words.
    """
    try:
        docker("rm", "--force", "--volumes", name)
    except ServerError as error:
        if "No such container" not in str(error):
            raise


def our_containers(cache: Path) -> list[str]:
    """The names of the containers, running or not, that runs with this cache have made."""
    return docker(
        "ps", "--all", "--filter", f"label={_CACHE_LABEL}={_cache_mark(cache)}", "--format", "{{.Names}}"
    ).split()


def lease_of(cache: Path, name: str) -> FileLock:
    """The lock that the living owners of the container `name` hold, shared."""
    return FileLock(cache / "containers" / f"{name}.lock")


def kept_notes(cache: Path) -> list[Path]:
    """The notes by which later runs find kept containers."""
    return list((cache / "containers").glob("*.kept"))


def read_note(note: Path) -> tuple[str, Secret]:
    """The name of a kept container, and its password."""
    kept = json.loads(note.read_text(encoding="utf-8"))
    return kept["container"], Secret(kept["password"])


def _cache_mark(cache: Path) -> str:
    return hashlib.sha256(str(cache).encode()).hexdigest()[:16]


@dataclass
class ContainerServer:
    """A server in a container of ours, removed when its run ends, unless somebody keeps it."""

    provider: str
    reason: str
    version: str
    address: Address
    _container: str = field(repr=False)
    _lease: FileLock = field(repr=False)
    _note: Path = field(repr=False)

    def log_tail(self, lines: int = 40) -> str:
        return _log_tail(self._container, lines)

    def keep(self) -> None:
        file = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as note:
            json.dump({"container": self._container, "password": self.address.password.reveal()}, note)

    def stop(self) -> None:
        if not self._note.exists():
            remove_container(self._container)
            self._lease.remove()
        self._lease.release()


class ContainerProvider:
    """`docker run` of postgres:<postgres-version>, or of any image that takes the same variables."""

    name = "container"
    remedy = "install Docker and start it"

    def __init__(self, settings: Settings, cache: Path) -> None:
        self._settings = settings
        self._cache = cache
        self._image = settings.postgres_image or f"postgres:{settings.postgres_version or _NEWEST}"

    def obstacle(self) -> str:
        if sys.platform == "win32":
            return "on Windows Docker runs Linux images in a machine of its own; start PostgreSQL there yourself"
        if shutil.which("docker") is None:
            return "docker is not on PATH"
        try:
            docker("version", "--format", "{{.Server.Version}}", timeout=10)
        except ServerError as error:
            return f"the Docker engine does not answer ({error})"
        return ""

    def start(self) -> ContainerServer:
        for note in (self._cache / "containers").glob(f"{self._mark}-*.kept"):
            server = self._attach(note)
            if server:
                return server
        return self._run()

    def _run(self) -> ContainerServer:
        self._pull_if_missing()
        name = f"savepoint-{secrets.token_hex(4)}"
        lease = lease_of(self._cache, name)
        # Before the container exists, so that `clean` never meets one whose owner seems dead.
        lease.acquire(shared=True)
        password = Secret(secrets.token_hex(16))
        try:
            self._docker_run(name, password)
            return self._wait(name, password, lease)
        except BaseException:
            remove_container(name)
            lease.remove()
            lease.release()
            raise

    def _docker_run(self, name: str, password: Secret) -> None:
        tuning = [f"{key}={value}" for key, value in tuned_for_tests(self._settings.postgres_settings).items()]
        docker(
            "run", "--detach", "--name", name,
            "--label", f"{_CACHE_LABEL}={_cache_mark(self._cache)}",
            "--publish", "127.0.0.1::5432", "--shm-size", "256m",
            # A folder of our own: the image's own data folder moved in version 18 and is a volume on disk.
            "--tmpfs", "/savepoint:rw,mode=1777", "--env", "PGDATA=/savepoint/data",
            "--env", "POSTGRES_PASSWORD", "--env", "POSTGRES_INITDB_ARGS=--encoding=UTF8 --lc-collate=C "
            "--lc-ctype=C.UTF-8 --no-sync",
            self._image, "postgres", *(part for setting in tuning for part in ("-c", setting)),
            # The variable's value is left out of the command, which everybody on the machine can read.
            environ={"POSTGRES_PASSWORD": password.reveal()},
        )  # fmt: skip

    def _wait(self, name: str, password: Secret, lease: FileLock) -> ContainerServer:
        timeout = self._settings.server_timeout
        try:
            host, _, port = docker("port", name, "5432/tcp").splitlines()[0].rpartition(":")
            address = Address(host, int(port), "postgres", password)
            version = version_when_ready(address, timeout=timeout, pause=_PAUSE, is_alive=lambda: _is_running(name))
        except (NotReadyError, ServerError) as fault:
            raise ServerError(
                f"PostgreSQL in a container of {self._image} did not start: {fault}.\n"
                f"The end of the container's log:\n{_log_tail(name, 40)}\n"
                "Look at postgres-image and postgres-settings; set server-timeout for a slow machine."
            ) from fault
        reason = f"a container of {self._image}"
        note = self._cache / "containers" / f"{self._mark}-{name}.kept"
        return ContainerServer("container", reason, version, address, name, lease, note)

    def _pull_if_missing(self) -> None:
        try:
            docker("image", "inspect", self._image)
        except ServerError:
            try:
                docker("pull", "--quiet", self._image, timeout=_PULL_SECONDS)
            except ServerError as error:
                raise ServerError(
                    f"The image {self._image} is not on this machine and cannot be pulled: {error}.\n"
                    "Set postgres-image to an image that is there, or provider to system or embedded."
                ) from error

    @property
    def _mark(self) -> str:
        wanted = f"{self._image} {sorted(self._settings.postgres_settings.items())}"
        return hashlib.sha256(wanted.encode()).hexdigest()[:16]

    def _attach(self, note: Path) -> ContainerServer | None:
        name, password = read_note(note)
        lease = lease_of(self._cache, name)
        if not lease.acquire(shared=True) or not _is_running(name):
            lease.release()
            note.unlink(missing_ok=True)
            return None
        return self._wait(name, password, lease)


def _is_running(name: str) -> bool:
    try:
        return docker("inspect", "--format", "{{.State.Running}}", name) == "true"
    except ServerError:
        return False


def _log_tail(name: str, lines: int) -> str:
    # postgres logs to stderr, the image's entry point to stdout.
    done = subprocess.run(
        ["docker", "logs", "--tail", str(lines), name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False, timeout=30,
    )  # fmt: skip
    return done.stdout.strip()
