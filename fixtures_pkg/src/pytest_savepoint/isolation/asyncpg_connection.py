"""What an engine gets in place of an asyncpg connection: in a test it speaks through the sandbox.

It offers what SQLAlchemy's asyncpg adapter and a user of the driver connection call, and belongs to no event loop, so
pools may keep it as long as they like. Where commits are real (tests isolated otherwise, fixtures of wider scope) it has
a server connection of its own, which is handed from loop to loop like the one of the sandbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from pytest_savepoint.isolation.asyncpg_own import OwnConnection
from pytest_savepoint.isolation.asyncpg_statement import SharedStatement
from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire
from pytest_savepoint.isolation.asyncpg_wires import IdleWires
from pytest_savepoint.isolation.conflicts import listens, own_isolation_level
from pytest_savepoint.isolation.sandbox import Sandbox
from pytest_savepoint.isolation.statements import as_described, classify
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

    def __init__(self, sandbox: Sandbox, arguments: dict[str, Any], wires: IdleWires) -> None:
        """
        :param arguments: what `asyncpg.connect` takes.
        :param wires: where it gets a connection of its own and gives it back.
        """
        self._sandbox = sandbox
        self._transaction: Transaction | None = None
        self._epoch = -1
        self._codecs: list[dict[str, Any]] = []
        self._own = OwnConnection(arguments, wires, self._codecs)
        self._codecs_given_to: AsyncpgWire | None = None
        self._settings = _set_locally(arguments.get("server_settings") or {})
        self._settings_epoch = -1
        self._closed = False

    # -- transactions ----------------------------------------------------------------------------------------------

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> _SharedTransaction:
        return _SharedTransaction(self, isolation, readonly, deferrable)

    def is_in_transaction(self) -> bool:
        return self._transaction is not None or self._own.transaction is not None

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
        if name in _LISTENING and self._in_sandbox:
            raise listens(name, self._sandbox.test)
        if name in _RUNNING_ON_SERVER:

            async def call(*args: Any, **options: Any) -> Any:
                return await self._run("copy", lambda connection: getattr(connection, name)(*args, **options))

            return call
        if name in _LISTENING:

            async def listen(*args: Any, **options: Any) -> Any:
                return await getattr(await self._own.connection(), name)(*args, **options)

            return listen
        if not self._in_sandbox and self._own.wire is not None and self._own.wire.present is not None:
            return getattr(self._own.wire.present, name)
        raise AttributeError(name)

    @property
    def _wire(self) -> AsyncpgWire:
        wire = self._sandbox.wire if self._in_sandbox else self._own.wire
        assert isinstance(wire, AsyncpgWire), "an operation is under way, so its wire is open"
        return wire

    @property
    def _in_sandbox(self) -> bool:
        return self._sandbox.test is not None and self._own.transaction is None

    async def _run(self, query: str, operation: Callable[[Any], Awaitable[Any]], *, describes: bool = False) -> Any:
        statement = as_described(classify(query)) if describes else classify(query)
        if not self._in_sandbox:
            return await self._own.run(operation, defines=statement.defines)
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        operation = self._after_preparation(operation)
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
        if self._codecs_given_to is self._sandbox.wire is not None and not needs_settings:
            return operation

        async def first_operation(connection: asyncpg.Connection) -> Any:
            for codec in self._codecs:
                await self._wire.set_type_codec(connection, codec)
            self._codecs_given_to = self._wire
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

    # -- life ------------------------------------------------------------------------------------------------------

    def is_closed(self) -> bool:
        return self._closed or (self._own.is_lost and not self._in_sandbox)

    def settle(self) -> None:
        """Roll back what a test left open for real; a connection that is still at work is closed."""
        self._own.settle()

    def drop_own(self) -> None:
        """Close the server connection that is this one's own; the next use opens another."""
        self._own.drop()

    async def close(self, **_options: Any) -> None:
        self._closed = True
        await self._end(self._sandbox.rollback)
        self._own.give_back()

    def terminate(self) -> None:
        self._closed = True
        self._abandon_in_sandbox()
        self._own.give_back()

    def abandon(self) -> bool:
        """Give up the transaction without an event loop; tell whether that could be done, so that it goes on being open."""
        self._abandon_in_sandbox()
        return self._own.abandon()

    def _abandon_in_sandbox(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None and self._epoch == self._sandbox.epoch:
            self._sandbox.abandon(transaction)


class _SharedTransaction:
    """What SQLAlchemy's adapter begins, commits and rolls back."""

    def __init__(self, connection: SharedConnection, isolation: str | None, readonly: bool, deferrable: bool) -> None:
        self._connection = connection
        self._isolation = isolation
        self._readonly = readonly
        self._deferrable = deferrable
        self._own: asyncpg.transaction.Transaction | None = None

    async def start(self) -> None:
        connection = self._connection
        if not connection._in_sandbox:
            self._own = await connection._own.begin(
                isolation=self._isolation, readonly=self._readonly, deferrable=self._deferrable
            )
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
        if self._own is None:
            await connection._end(getattr(connection._sandbox, how))
        elif not await connection._own.finish(self._own, how):
            # Its loop has ended in mid-transaction; closing lets the server roll back.
            connection.terminate()


def _set_locally(settings: dict[str, str]) -> str:
    """The SQL that sets what `server_settings` of an engine ask for, until the end of the test."""
    quoted = {name: str(value).replace("'", "''") for name, value in settings.items()}
    return "; ".join(f"SELECT set_config('{name}', '{value}', true)" for name, value in quoted.items())
