"""What an engine gets in place of an asyncpg connection: in a test it speaks through the sandbox.

It offers what SQLAlchemy's asyncpg adapter and a user of the driver connection call, and belongs to no event loop, so
pools may keep it as long as they like. Outside of tests (fixtures of wider scope) it opens a real connection of its
own on the running loop, and gives it up when that loop ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.asyncpg_statement import SharedStatement
from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire
from pytest_savepoint.isolation.conflicts import WAY_OUT, own_isolation_level
from pytest_savepoint.isolation.loop_bound import LoopBoundConnection
from pytest_savepoint.isolation.sandbox import Sandbox
from pytest_savepoint.isolation.statements import classify
from pytest_savepoint.isolation.transaction import Transaction

__all__ = ["SharedConnection"]

_LISTENING = frozenset({"add_listener", "remove_listener"})
_RUNNING_ON_SERVER = frozenset(
    {
        "copy_from_query",
        "copy_from_table",
        "copy_records_to_table",
        "copy_to_table",
        "fetchmany",
        "reload_schema_state",
        "reset_type_codec",
        "set_builtin_type_codec",
    }
)


class SharedConnection:
    """A stand-in for one `asyncpg.Connection` of an engine."""

    belongs_to_no_loop = True

    def __init__(self, sandbox: Sandbox, arguments: dict[str, Any]) -> None:
        """:param arguments: what `asyncpg.connect` takes to reach the worker's database, for use outside of tests."""
        self._sandbox = sandbox
        self._arguments = arguments
        self._transaction: Transaction | None = None
        self._epoch = -1
        self._real: LoopBoundConnection | None = None
        self._real_in_transaction = False
        self._codecs: list[dict[str, Any]] = []
        self._codecs_in_sandbox = False
        self._settings = _set_locally(arguments.get("server_settings") or {})
        self._settings_epoch = -1
        self._closed = False

    # -- transactions ----------------------------------------------------------------------------------------------

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> _SharedTransaction:
        return _SharedTransaction(self, isolation, readonly, deferrable)

    def is_in_transaction(self) -> bool:
        return self._transaction is not None or self._real_in_transaction

    # -- statements ------------------------------------------------------------------------------------------------

    async def prepare(self, query: str, **_options: Any) -> SharedStatement:
        statement = SharedStatement(self, query)
        await statement.describe()
        return statement

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._run(query, lambda connection: connection.execute(query, *args, **options))

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        return await self._run(command, lambda connection: connection.executemany(command, args, **options))

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._run(query, lambda connection: connection.fetch(query, *args, **options))

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._run(query, lambda connection: connection.fetchval(query, *args, **options))

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        if query == ";" and self._in_sandbox:
            # SQLAlchemy's pool_pre_ping; the connection of the sandbox needs no proof for each session.
            return None
        return await self._run(query, lambda connection: connection.fetchrow(query, *args, **options))

    async def set_type_codec(self, typename: str, **options: Any) -> None:
        # Kept until the first statement, so that to connect asks nothing of the server and needs no event loop.
        self._codecs.append({"typename": typename, **options})

    def __getattr__(self, name: str) -> Any:
        if name in _LISTENING:
            raise SandboxError(
                f"{name}() was called in {self._sandbox.test}: PostgreSQL delivers notifications at COMMIT, and in a "
                f"test that is isolated by a savepoint nothing is really committed.\nTo hear them, {WAY_OUT}"
            )
        if name in _RUNNING_ON_SERVER:

            async def call(*args: Any, **options: Any) -> Any:
                return await self._run("copy", lambda connection: getattr(connection, name)(*args, **options))

            return call
        if self._real is not None and not self._in_sandbox:
            return getattr(self._real.connection, name)
        raise AttributeError(name)

    @property
    def _wire(self) -> AsyncpgWire:
        wire = self._sandbox.wire
        assert isinstance(wire, AsyncpgWire), "an operation is under way, so its wire is open"
        return wire

    @property
    def _in_sandbox(self) -> bool:
        return self._sandbox.test is not None and not self._real_in_transaction

    async def _run(self, query: str, operation: Callable[[Any], Awaitable[Any]]) -> Any:
        if not self._in_sandbox:
            return await operation(await self._real_connection())
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        operation = self._after_preparation(operation)
        statement = classify(query)
        if self._transaction is not None:
            if self._epoch != self._sandbox.epoch:
                # It began in an earlier test, with which all that it did is gone.
                self._begin(read_only=False)
            return await self._sandbox.run(self._transaction, statement, operation)
        # Autocommit: a statement outside of a transaction is a transaction of its own.
        transaction = Transaction("asyncpg")
        try:
            result = await self._sandbox.run(transaction, statement, operation)
        except BaseException:
            await self._sandbox.rollback(transaction)
            raise
        await self._sandbox.commit(transaction)
        return result

    def _after_preparation(self, operation: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        """Before the first statement give the shared connection what this engine's own would have had."""
        needs_settings = self._settings and self._settings_epoch != self._sandbox.epoch
        if self._codecs_in_sandbox and not needs_settings:
            return operation

        async def first_operation(connection: asyncpg.Connection) -> Any:
            for codec in self._codecs:
                await self._wire.set_type_codec(connection, codec)
            self._codecs_in_sandbox = True
            if needs_settings:
                self._settings_epoch = self._sandbox.epoch
                await connection.execute(self._settings)
            return await operation(connection)

        return first_operation

    def _begin(self, *, read_only: bool) -> None:
        self._transaction = Transaction("asyncpg", read_only=read_only)
        self._epoch = self._sandbox.epoch

    async def _end(self, end: Callable[[Transaction], Awaitable[None]]) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None and self._epoch == self._sandbox.epoch:
            await end(transaction)

    # -- outside of tests ------------------------------------------------------------------------------------------

    async def _real_connection(self) -> asyncpg.Connection:
        if self._real is None or not self._real.is_usable:
            self._real = await LoopBoundConnection.open(self._arguments)
            for codec in self._codecs:
                await self._real.connection.set_type_codec(**codec)
        return self._real.connection

    # -- life ------------------------------------------------------------------------------------------------------

    def is_closed(self) -> bool:
        return self._closed

    async def close(self, **_options: Any) -> None:
        self._closed = True
        await self._end(self._sandbox.rollback)
        if self._real is not None:
            await self._real.close()

    def terminate(self) -> None:
        self._closed = True
        transaction, self._transaction = self._transaction, None
        if transaction is not None and self._epoch == self._sandbox.epoch:
            self._sandbox.abandon(transaction)
        if self._real is not None:
            self._real.terminate()


class _SharedTransaction:
    """What SQLAlchemy's adapter begins, commits and rolls back."""

    def __init__(self, connection: SharedConnection, isolation: str | None, readonly: bool, deferrable: bool) -> None:
        self._connection = connection
        self._isolation = isolation
        self._readonly = readonly
        self._deferrable = deferrable
        self._real: Any = None

    async def start(self) -> None:
        connection = self._connection
        if not connection._in_sandbox:
            self._real = (await connection._real_connection()).transaction(
                isolation=self._isolation, readonly=self._readonly, deferrable=self._deferrable
            )
            await self._real.start()
            connection._real_in_transaction = True
            return
        if self._isolation not in (None, "read_committed"):
            raise own_isolation_level(self._isolation, connection._sandbox.test)
        connection._begin(read_only=self._readonly)

    async def commit(self) -> None:
        await self._finish("commit")

    async def rollback(self) -> None:
        await self._finish("rollback")

    async def _finish(self, how: str) -> None:
        connection = self._connection
        if self._real is not None:
            connection._real_in_transaction = False
            if connection._real is not None and connection._real.is_usable:
                await getattr(self._real, how)()
            else:
                # Its loop has ended, and with it the connection; the server has rolled back.
                connection.terminate()
        else:
            await connection._end(getattr(connection._sandbox, how))


def _set_locally(settings: dict[str, str]) -> str:
    """The SQL that sets what `server_settings` of an engine ask for, until the end of the test."""
    quoted = {name: str(value).replace("'", "''") for name, value in settings.items()}
    return "; ".join(f"SELECT set_config('{name}', '{value}', true)" for name, value in quoted.items())
