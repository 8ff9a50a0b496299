"""The docker client, and containers of ours with the lease that says that their owner lives."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.locks import FileLock

__all__ = ["Container", "docker_obstacle", "lease_of", "our_containers", "remove_container"]

_PULL_SECONDS = 900
_CACHE_LABEL = "savepoint.cache"


class Container:
    """A container of ours, and our share of its lease."""

    def __init__(self, name: str, lease: FileLock) -> None:
        self.name = name
        self._lease = lease

    @classmethod
    def run(
        cls, cache: Path, image: str, *, remedy: str, options: list[str], command: list[str], environ: Mapping[str, str]
    ) -> Container:
        """Begin `command` in a container of `image`, which is pulled when it is not here.

        :param remedy: what to do when there is no such image.
        :param options: of `docker run`.
        :param environ: variables whose values are left out of the command line, which everybody on the machine can read.
        :raises ServerError: with docker's own words.
        """
        _pull_if_missing(image, remedy)
        name = f"savepoint-{secrets.token_hex(4)}"
        lease = lease_of(cache, name)
        # Before the container exists, so that `clean` never meets one whose owner seems dead.
        lease.acquire(shared=True)
        container = cls(name, lease)
        handed = [part for variable in environ for part in ("--env", variable)]
        label = f"{_CACHE_LABEL}={_cache_mark(cache)}"
        try:
            docker("run", "--detach", "--name", name, "--label", label, *handed, *options, image, *command, environ=environ)
        except BaseException:
            container.remove()
            raise
        return container

    @classmethod
    def attach(cls, cache: Path, name: str) -> Container | None:
        """One that somebody else began, if it runs."""
        container = cls(name, lease_of(cache, name))
        if container._lease.acquire(shared=True) and container.is_running():
            return container
        container.let_go()
        return None

    def published(self, port: int) -> tuple[str, int]:
        """Host and port on this machine of a port of the container.

        :raises ServerError: with docker's own words.
        """
        host, _, number = docker("port", self.name, f"{port}/tcp").splitlines()[0].rpartition(":")
        return host, int(number)

    def is_running(self) -> bool:
        try:
            return docker("inspect", "--format", "{{.State.Running}}", self.name) == "true"
        except ServerError:
            return False

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of what it said, to whichever stream."""
        done = subprocess.run(
            ["docker", "logs", "--tail", str(lines), self.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False, timeout=30,
        )  # fmt: skip
        return done.stdout.strip()

    def let_go(self) -> None:
        """Give back our share of its lease."""
        self._lease.release()

    def remove(self) -> None:
        """Remove it, and its lease.

        :raises ServerError: with docker's own words.
        """
        remove_container(self.name)
        self._lease.remove()
        self._lease.release()


def docker_obstacle() -> str:
    """Why no container can be made here; empty when one can."""
    if sys.platform == "win32":
        return "on Windows Docker runs Linux images in a machine of its own; start the server there yourself"
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout=10)
    except ServerError as error:
        return f"the Docker engine does not answer ({error})"
    return ""


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


def _cache_mark(cache: Path) -> str:
    return hashlib.sha256(str(cache).encode()).hexdigest()[:16]


def _pull_if_missing(image: str, remedy: str) -> None:
    try:
        docker("image", "inspect", image)
    except ServerError:
        try:
            docker("pull", "--quiet", image, timeout=_PULL_SECONDS)
        except ServerError as error:
            raise ServerError(
                f"The image {image} is not on this machine and cannot be pulled: {error}.\n{remedy}"
            ) from error
