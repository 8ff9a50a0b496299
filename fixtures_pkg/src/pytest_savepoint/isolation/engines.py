"""Every engine of the process, led to the worker's database and into the sandbox, without changes in the application.

The listener hangs on the class `sqlalchemy.Engine`, so it sees each connect of each engine, also of those made at
import before any plugin was awake.
"""

from __future__ import annotations

import weakref
from typing import Any

import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.engine import Dialect
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from pytest_savepoint.address import Address
from pytest_savepoint.databases.audit import LISTEN, OF_THE_SANDBOX
from pytest_savepoint.engines import redirected
from pytest_savepoint.isolation import conflicts
from pytest_savepoint.isolation.asyncpg_connection import SharedConnection
from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire
from pytest_savepoint.isolation.asyncpg_wires import IdleWires
from pytest_savepoint.isolation.origin import find_origin
from pytest_savepoint.isolation.sandbox import Sandbox
from pytest_savepoint.isolation.wire import Wire

__all__ = ["SharedEngines"]

_POSTGRESQL_DRIVERS = frozenset({"asyncpg", "pg8000", "psycopg", "psycopg2"})
_DEFERRED = """
select coalesce(string_agg(distinct format('%I.%I', n.nspname, c.conname), ', '), '')
from pg_constraint c join pg_namespace n on n.oid = c.connamespace where c.condeferred
"""
_LED_TO = "savepoint_database"


class SharedEngines:
    """Leads every PostgreSQL engine of this process to one database; in a test in the sandbox, to one connection."""

    def __init__(self, address: Address, database: str, *, timeout: float) -> None:
        """
        :param database: the worker's database on that server.
        :param timeout: seconds that one session may wait for another in a test.
        """
        self._address = address
        self._of_worker = database
        self.database = database
        """Where connections of their own lead now: the worker's database, or the clone of the running test."""
        self._wires = IdleWires(lambda: self.database)
        self._shared: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sharers = {"asyncpg": self._share_asyncpg, "psycopg": self._share_psycopg}
        openers = {"asyncpg": self.open_control, "psycopg": self._open_psycopg}
        self.sandbox = Sandbox(openers, timeout=timeout)
        event.listen(sqlalchemy.Engine, "do_connect", self._lead)
        event.listen(Pool, "connect", self._remember)
        event.listen(Pool, "checkout", self._check)

    def close(self) -> None:
        """Give the engines back their own targets and close every connection that they shared."""
        event.remove(Pool, "checkout", self._check)
        event.remove(Pool, "connect", self._remember)
        event.remove(sqlalchemy.Engine, "do_connect", self._lead)
        self.drop_own_connections()
        self.sandbox.close()

    def settle(self) -> None:
        """Roll back what a test that commits for real has left open on this process's async engines."""
        for connection in list(self._shared):
            connection.settle()

    def drop_own_connections(self) -> None:
        """Close the server connections outside of the sandbox; the engines open others when they need them."""
        for connection in list(self._shared):
            connection.drop_own()
        self._wires.close()

    async def open_control(self) -> AsyncpgWire:
        """The connection under the sandbox, which also listens to the escape audit."""
        wire = await AsyncpgWire.open(
            self._address.connect_arguments(self._of_worker),
            first_words=f"{OF_THE_SANDBOX}; {LISTEN}",
            always_in_transaction=True,
        )
        self.sandbox.deferred = await (await wire.connection(in_transaction=False)).fetchval(_DEFERRED)
        return wire

    def _lead(self, dialect: Dialect, record: Any, arguments: list[Any], parameters: dict[str, Any]) -> None:
        if dialect.name != "postgresql":
            return
        arguments.clear()
        target = redirected(dialect.driver, parameters, self._address, self.database)
        parameters.clear()
        parameters.update(target)
        if dialect.is_async and dialect.driver in self._sharers:
            parameters["async_creator_fn"] = self._sharers[dialect.driver]
        elif self.sandbox.test is not None:
            raise conflicts.no_sandbox_for_driver(
                find_origin(), dialect.driver, is_async=dialect.is_async, test=self.sandbox.test
            )
        elif record is not None:
            record.info[_LED_TO] = self.database

    def _remember(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        driver = record.driver_connection
        if hasattr(driver, "settle"):
            self._shared.add(driver)

    def _check(self, _connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        """An engine with a creator connects without telling; its connection is seen when it leaves the pool."""
        driver = record.driver_connection
        if getattr(driver, "belongs_to_no_loop", False):
            return
        if _POSTGRESQL_DRIVERS.isdisjoint(kind.__module__.partition(".")[0] for kind in type(driver).__mro__):
            return
        if self.sandbox.test is not None:
            raise conflicts.own_connection(find_origin(), self.sandbox.test)
        if record.info.get(_LED_TO, self.database) != self.database:
            raise exc.DisconnectionError(f"this connection leads to {record.info[_LED_TO]}, not to {self.database}")

    async def _share_asyncpg(self, **parameters: Any) -> SharedConnection:
        return SharedConnection(self.sandbox, parameters, self._wires)

    async def _open_psycopg(self) -> Wire:
        from pytest_savepoint.isolation.psycopg_connection import PsycopgWire  # noqa: PLC0415 # psycopg is the caller's

        return await PsycopgWire.open(redirected("psycopg", {}, self._address, self._of_worker))

    async def _share_psycopg(self, **parameters: Any) -> Any:
        from pytest_savepoint.isolation.psycopg_connection import SharedAsyncConnection  # noqa: PLC0415 # the caller's

        def target() -> dict[str, Any]:
            return {**parameters, "dbname": self.database}

        return await SharedAsyncConnection.open(self.sandbox, target)
