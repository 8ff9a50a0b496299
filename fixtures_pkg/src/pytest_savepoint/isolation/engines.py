"""Every engine of the process, led to the worker's database and into the sandbox, without changes in the application.

The listener hangs on the class `sqlalchemy.Engine`, so it sees each connect of each engine, also of those made at
import before any plugin was awake.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from pytest_savepoint.address import Address
from pytest_savepoint.engines import redirected
from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.asyncpg_connection import SharedConnection
from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire
from pytest_savepoint.isolation.conflicts import WAY_OUT
from pytest_savepoint.isolation.origin import find_origin
from pytest_savepoint.isolation.sandbox import Sandbox, Wire

__all__ = ["SharedEngines"]

_POSTGRESQL_DRIVERS = frozenset({"asyncpg", "pg8000", "psycopg", "psycopg2"})


class SharedEngines:
    """Leads every PostgreSQL engine of this process to one database; in a test, to one connection."""

    def __init__(self, address: Address, database: str, *, timeout: float) -> None:
        """
        :param database: the worker's database on that server.
        :param timeout: seconds that one session may wait for another in a test.
        """
        self._address = address
        self._database = database
        self._sharers = {"asyncpg": self._share_asyncpg, "psycopg": self._share_psycopg}
        openers = {"asyncpg": self._open_asyncpg, "psycopg": self._open_psycopg}
        self.sandbox = Sandbox(openers, timeout=timeout)
        event.listen(sqlalchemy.Engine, "do_connect", self._lead)
        event.listen(Pool, "checkout", self._refuse_unled)

    def close(self) -> None:
        """Give the engines back their own targets and close the sandbox's connection."""
        event.remove(Pool, "checkout", self._refuse_unled)
        event.remove(sqlalchemy.Engine, "do_connect", self._lead)
        self.sandbox.close()

    async def _open_asyncpg(self) -> AsyncpgWire:
        return await AsyncpgWire.open(self._address.connect_arguments(self._database))

    def _lead(self, dialect: Dialect, _record: Any, arguments: list[Any], parameters: dict[str, Any]) -> None:
        if dialect.name != "postgresql":
            return
        arguments.clear()
        target = redirected(dialect.driver, parameters, self._address, self._database)
        parameters.clear()
        parameters.update(target)
        if dialect.is_async and dialect.driver in self._sharers:
            parameters["async_creator_fn"] = self._sharers[dialect.driver]
        elif self.sandbox.test is not None:
            kind = "an async" if dialect.is_async else "a sync"
            raise SandboxError(
                f"The engine that connects at {find_origin()} in {self.sandbox.test} has {kind} driver "
                f"({dialect.driver}), whose connection cannot share the transaction that isolates the test: it would "
                "not see the test's rows, and what it commits would stay.\n"
                f"Use an async engine with asyncpg or psycopg there, or {WAY_OUT}"
            )

    def _refuse_unled(self, _connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        """An engine with a creator connects without telling; its connection is seen when it leaves the pool."""
        driver = record.driver_connection
        if self.sandbox.test is None or getattr(driver, "belongs_to_no_loop", False):
            return
        if _POSTGRESQL_DRIVERS.isdisjoint(kind.__module__.partition(".")[0] for kind in type(driver).__mro__):
            return
        raise SandboxError(
            f"The engine used at {find_origin()} in {self.sandbox.test} has a connection of its own, from a creator= or "
            "async_creator= or from a sync driver before the test began. It leads to whatever database it was made "
            "for, and cannot share the transaction that isolates the test.\nMake the engine from a URL in tests, with "
            f"asyncpg or psycopg as its async driver, or {WAY_OUT}"
        )

    async def _share_asyncpg(self, **parameters: Any) -> SharedConnection:
        return SharedConnection(self.sandbox, parameters)

    async def _open_psycopg(self) -> Wire:
        from pytest_savepoint.isolation.psycopg_connection import PsycopgWire  # noqa: PLC0415 # psycopg is the caller's

        return await PsycopgWire.open(redirected("psycopg", {}, self._address, self._database))

    async def _share_psycopg(self, **parameters: Any) -> Any:
        from pytest_savepoint.isolation.psycopg_connection import (  # noqa: PLC0415 # psycopg is the caller's
            PsycopgWire,
            SharedAsyncConnection,
        )

        wire = await self.sandbox.open_wire("psycopg")
        assert isinstance(wire, PsycopgWire), "opened for this driver"
        return SharedAsyncConnection(self.sandbox, wire, parameters)
