"""One process that runs tests: which database is its own, and the sandbox in which its tests run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.databases.clone import create_clones
from pytest_savepoint.databases.names import database_name
from pytest_savepoint.databases.owned import drop_ours
from pytest_savepoint.databases.session import session
from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.engines import SharedEngines
from pytest_savepoint.secret import Secret
from pytest_savepoint.settings import Settings

__all__ = ["CloneSource", "Database", "Worker", "announce", "assigned_database", "set_database_urls"]

# What the controller hands to its workers, and what xdist names a worker by; both before any conftest is imported.
_RUN_VARIABLE = "SAVEPOINT_RUN"
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
_ASYNCPG = "postgresql+asyncpg"


@dataclass(frozen=True)
class CloneSource:
    """What a worker's database is made from, so that a worker can make its own anew."""

    run_id: str
    template: str
    carried: tuple[str, ...]


@dataclass(frozen=True)
class Database:
    """The database of this worker, for tests that need its URL or names."""

    name: str
    worker: str
    template: str
    host: str
    port: int
    user: str
    url: str = field(repr=False)
    """For SQLAlchemy, with the password, and with the driver that the environment's database URL names."""

    @classmethod
    def at(cls, address: Address, name: str, worker: str, source: CloneSource, settings: Settings) -> Database:
        url = address.url(name, _scheme(settings.database_url_env[0]) if settings.database_url_env else _ASYNCPG)
        return cls(name, worker, source.template, address.host, address.port, address.user, url)


class Worker:
    """The state of one process that runs tests."""

    def __init__(self, address: Address, database: Database, source: CloneSource, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self._address = address
        self._source = source
        self.engines = SharedEngines(address, database.name, timeout=settings.sandbox_timeout)
        self.sandbox = self.engines.sandbox

    @contextmanager
    def isolated(self, nodeid: str) -> Iterator[None]:
        """Run one test in the sandbox.

        :raises SandboxError: when the test escaped; the database has been made anew by then.
        """
        self.sandbox.enter(nodeid)
        yield
        try:
            self.sandbox.leave()
        except SandboxError:
            self.sandbox.close()
            with Background() as background:
                background.call(self._make_database_anew())
            raise

    async def _make_database_anew(self) -> None:
        async with session(self._address) as connection:
            await drop_ours(connection, self.database.name)
        source = self._source
        await create_clones(self._address, source.template, source.carried, [self.database.name], source.run_id)

    def close(self) -> None:
        self.engines.close()


def announce(address: Address, source: CloneSource) -> None:
    """Put into this process's environment what the workers that xdist starts from it need to know."""
    values = {**asdict(address), "password": address.password.reveal()}
    os.environ[_RUN_VARIABLE] = json.dumps({"address": values, "source": asdict(source)})


def assigned_database(settings: Settings) -> tuple[Address, Database, CloneSource] | None:
    """The database that the controller of this xdist worker made for it; None in any other process."""
    text, worker = os.environ.get(_RUN_VARIABLE), os.environ.get(_WORKER_VARIABLE)
    if not text or not worker:
        return None
    # A pytest that a test of the suite starts is a run of its own.
    del os.environ[_RUN_VARIABLE]
    run = json.loads(text)
    address = Address(**{**run["address"], "password": Secret(run["address"]["password"])})
    source = CloneSource(**{**run["source"], "carried": tuple(run["source"]["carried"])})
    # The name follows from run and worker, because one that replaces a crashed worker was not known when the run began.
    name = database_name(source.run_id, worker)
    return address, Database.at(address, name, worker, source, settings), source


def set_database_urls(address: Address, name: str, variables: tuple[str, ...]) -> None:
    """Put the database's URL where settings look for it, with the driver that the variable named before.

    :param variables: names of environment variables.
    """
    for variable in variables:
        os.environ[variable] = address.url(name, _scheme(variable))


def _scheme(variable: str) -> str:
    scheme = os.environ.get(variable, "").partition("://")[0]
    return scheme if scheme.startswith("postgres") else _ASYNCPG
