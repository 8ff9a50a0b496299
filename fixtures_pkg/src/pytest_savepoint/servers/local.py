"""Servers on this machine from PostgreSQL's own programs, shared by all runs that want the same."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.account import Account, server_account
from pytest_savepoint.servers.binaries import Binaries
from pytest_savepoint.servers.cluster import Cluster
from pytest_savepoint.servers.locks import FileLock
from pytest_savepoint.servers.place import server_place
from pytest_savepoint.servers.tuning import tuned_for_tests
from pytest_savepoint.settings import Settings

__all__ = ["LocalProvider", "Turn", "Users"]


class Turn(FileLock):
    """Held by whoever starts, stops or removes the server in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.with_name(f"{folder.name}.turn"))


class Users(FileLock):
    """Held, shared, by each run that uses the server in `folder`; taken and left only in one's turn."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.with_name(f"{folder.name}.users"))


@dataclass
class LocalServer:
    """A server that ends when its last run leaves, unless somebody keeps it."""

    provider: str
    reason: str
    version: str
    address: Address
    _cluster: Cluster = field(repr=False)
    _users: Users = field(repr=False)
    _timeout: float = field(repr=False)

    def log_tail(self, lines: int = 40) -> str:
        return self._cluster.log_tail(lines)

    def keep(self) -> None:
        self._cluster.keep()

    def stop(self) -> None:
        turn = Turn(self._cluster.folder)
        if not turn.acquire(timeout=self._timeout):
            self._users.release()
            return
        try:
            self._users.release()
            last = Users(self._cluster.folder)
            if not self._cluster.is_kept and last.acquire():
                self._cluster.stop()
                last.release()
        finally:
            turn.release()


class LocalProvider:
    """PostgreSQL from the programs that `find` finds.

    :param find: gives the programs, newest first.
    """

    def __init__(
        self, name: str, find: Callable[[], list[Binaries]], settings: Settings, cache: Path, *, whose: str, remedy: str
    ) -> None:
        self.name = name
        self._whose = whose
        self.remedy = remedy
        self._find = find
        self._settings = settings
        self._cache = cache

    def obstacle(self) -> str:
        found = self._found
        if not found:
            return "no PostgreSQL programs were found"
        if sys.platform == "win32":
            return f"PostgreSQL {found[0].major} is in {found[0].folder}, but on Windows it has to run as a service"
        if not self._wanted():
            majors = ", ".join(str(binaries.major) for binaries in found)
            return f"postgres-version is {self._settings.postgres_version}, and only {majors} was found"
        return ""

    def start(self) -> LocalServer:
        account = server_account()
        place = server_place(self._cache, account)
        chosen = self._wanted()[0]
        folder = place / f"{chosen.major}-{self._mark(chosen)}"
        turn, users = Turn(folder), Users(folder)
        timeout = self._settings.server_timeout
        if not turn.acquire(timeout=timeout):
            raise ServerError(
                f"Another run has been starting the server in {folder} for {timeout:.0f} s.\n"
                "Wait for it or end it, or set server-timeout."
            )
        try:
            users.acquire(shared=True, timeout=timeout)
            cluster = self._cluster(folder, chosen, account)
            running = cluster.serve(timeout=timeout)
        except BaseException:
            users.release()
            raise
        finally:
            turn.release()
        reason = f"{self._whose} programs in {chosen.folder}"
        return LocalServer(self.name, reason, running.version, running.address, cluster, users, timeout)

    @cached_property
    def _found(self) -> list[Binaries]:
        return self._find()

    def _wanted(self) -> list[Binaries]:
        version = self._settings.postgres_version
        return [binaries for binaries in self._found if not version or binaries.major == int(version)]

    def _mark(self, chosen: Binaries) -> str:
        settings = sorted(tuned_for_tests(self._settings.postgres_settings).items())
        return hashlib.sha256(f"{chosen.folder} {settings}".encode()).hexdigest()[:8]

    def _cluster(self, folder: Path, chosen: Binaries, account: Account) -> Cluster:
        reachable = chosen.reachable_by(account, copies=folder.parent)
        return Cluster(folder, reachable, account, tuned_for_tests(self._settings.postgres_settings))
