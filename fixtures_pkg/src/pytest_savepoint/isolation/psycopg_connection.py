"""What an engine gets in place of a psycopg 3 async connection: in a test it speaks through the sandbox.

psycopg waits on its socket with whatever loop is running, so a connection of libpq serves loop after loop as it is.
Every stand-in is an `AsyncConnection` of its own over the one libpq connection under the sandbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from psycopg import pq, sql

from pytest_savepoint.databases.audit import CHANNEL, LISTEN, OF_A_TEST, OF_THE_SANDBOX
from pytest_savepoint.isolation.conflicts import own_isolation_level
from pytest_savepoint.isolation.sandbox import Sandbox
from pytest_savepoint.isolation.statements import classify
from pytest_savepoint.isolation.transaction import Transaction
from pytest_savepoint.isolation.whole import in_a_task

__all__ = ["PsycopgWire", "SharedAsyncConnection"]


class PsycopgWire:
    """One libpq connection, the same on every loop."""

    driver = "psycopg"

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self.heard: list[str] = []

    @classmethod
    async def open(cls, parameters: dict[str, Any]) -> PsycopgWire:
        """Connect on the running loop.

        :param parameters: what `psycopg.AsyncConnection.connect` takes.
        :raises psycopg.OperationalError: when the server cannot be reached.
        """
        # In autocommit psycopg sends no BEGIN of its own; the sandbox's is text.
        wire = cls(await psycopg.AsyncConnection.connect(**parameters, autocommit=True))
        await wire.execute(f"{OF_THE_SANDBOX}; {LISTEN}")
        return wire

    @property
    def is_open(self) -> bool:
        return bool(self._connection.pgconn.status == pq.ConnStatus.OK)

    @property
    def backend_pid(self) -> int:
        """The server's process for this connection."""
        return int(self.pgconn.backend_pid)

    @property
    def is_in_transaction(self) -> bool:
        """As the server said with its last answer."""
        return bool(self.pgconn.transaction_status != pq.TransactionStatus.IDLE)

    @property
    def pgconn(self) -> pq.abc.PGconn:
        return self._connection.pgconn

    @property
    def prepared(self) -> Any:
        """Which statements the server has prepared: one list for all stand-ins, as they share its names."""
        return self._connection._prepared

    async def connection(self, *, in_transaction: bool) -> psycopg.AsyncConnection[Any]:  # noqa: ARG002 # asked by `Wire`
        return self._connection

    async def execute(self, text: str) -> None:
        """Run one or more statements without parameters, whatever is cancelled."""
        await in_a_task(self._execute(text))

    async def _execute(self, text: str) -> None:
        await self._connection.execute(text.encode())

    async def precede(self, text: str) -> None:
        """Run them before the next statement, which is now: libpq sends one query at a time."""
        await self.execute(text)

    @property
    def refusal(self) -> str:
        """Nothing is refused later than `precede` tells."""
        return ""

    def execute_now(self, text: str) -> bool:
        """Run one or more statements by blocking, with no event loop; tell whether they had no error.

        :raises OSError: the server has closed the connection.
        """
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            self.close()
            raise ConnectionError("an unfinished statement was left on the connection")
        result = self.pgconn.exec_(text.encode())
        if not self.is_open:
            self.close()
            raise ConnectionError("the server closed the connection between two tests")
        while (notification := self.pgconn.notifies()) is not None:
            if notification.relname == CHANNEL.encode():
                self.heard.append(notification.extra.decode())
        return result.status != pq.ExecStatus.FATAL_ERROR

    def forget_statements(self) -> None:
        """Prepare statements again, after DDL."""
        self.prepared.clear()

    def close(self) -> None:
        """Close the connection; the server rolls back what was open."""
        self.pgconn.finish()


class _SharedCursor(psycopg.AsyncCursor[Any]):
    _conn: SharedAsyncConnection

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        execute = super().execute
        return await self._conn._run(self, query, lambda: execute(query, params, **options))

    async def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        executemany = super().executemany
        await self._conn._run(self, query, lambda: executemany(query, params_seq, **options))


class _SharedServerCursor(psycopg.AsyncServerCursor[Any]):
    _conn: SharedAsyncConnection

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        execute = super().execute
        return await self._conn._run(self, query, lambda: execute(query, params, **options))


class SharedAsyncConnection(psycopg.AsyncConnection[Any]):
    """A stand-in for one `psycopg.AsyncConnection` of an engine."""

    belongs_to_no_loop = True

    def __init__(self, sandbox: Sandbox, pgconn: pq.abc.PGconn, target: Callable[[], dict[str, Any]]) -> None:
        super().__init__(pgconn)
        self._sandbox = sandbox
        self._target = target
        self._transaction: Transaction | None = None
        self._epoch = -1
        self._real: psycopg.AsyncConnection[Any] | None = None
        self._is_closed = False
        self.cursor_factory = _SharedCursor
        self.server_cursor_factory = _SharedServerCursor

    @classmethod
    async def open(cls, sandbox: Sandbox, target: Callable[[], dict[str, Any]]) -> SharedAsyncConnection:
        """Make a stand-in on the running loop.

        :param target: gives what `psycopg.AsyncConnection.connect` takes to reach the database of the running test.
        """
        if sandbox.test is not None:
            wire = await sandbox.open_wire("psycopg")
            assert isinstance(wire, PsycopgWire), "opened for this driver"
            return cls(sandbox, wire.pgconn, target)
        real = await _connect(target())
        shared = cls(sandbox, real.pgconn, target)
        shared._real = real
        return shared

    def __del__(self, *_: Any) -> None:
        """Say nothing of an unclosed connection: it is the sandbox's."""

    def _check_connection_ok(self) -> None:
        # psycopg would look at the connection used last, which may have ended with its test.
        if self._is_closed:
            raise psycopg.OperationalError("the connection is closed")

    @property
    def _in_sandbox(self) -> bool:
        return self._sandbox.test is not None and not self._is_really_busy

    @property
    def _is_really_busy(self) -> bool:
        return self._real is not None and self._real.pgconn.transaction_status not in (
            pq.TransactionStatus.IDLE,
            pq.TransactionStatus.UNKNOWN,
        )

    async def _run(self, cursor: Any, query: Any, operation: Callable[[], Awaitable[Any]]) -> Any:
        self._check_connection_ok()
        if not self._in_sandbox:
            await self._use_real_connection()
            cursor._pgconn = self.pgconn  # a cursor remembers the connection that it was made on
            return await operation()
        if self._transaction is None or self._epoch != self._sandbox.epoch:
            self._transaction = Transaction("psycopg", read_only=bool(self._read_only))
            self._epoch = self._sandbox.epoch
        transaction = self._transaction
        try:
            result = await self._sandbox.run(transaction, classify(_text(query, self)), lambda _: self._on_wire(cursor, operation))
        except BaseException:
            if self._autocommit:
                await self.rollback()
            raise
        if self._autocommit:
            await self.commit()
        return result

    async def _on_wire(self, cursor: Any, operation: Callable[[], Awaitable[Any]]) -> Any:
        wire = self._sandbox.wire
        assert isinstance(wire, PsycopgWire), "an operation is under way, so its wire is open"
        self.pgconn, self._prepared = wire.pgconn, wire.prepared
        cursor._pgconn = wire.pgconn
        return await operation()

    async def _use_real_connection(self) -> None:
        if self._real is None or self._real.closed:
            self._real = await _connect(self._target())
        self.pgconn, self._prepared = self._real.pgconn, self._real._prepared

    async def commit(self) -> None:
        await self._end(self._sandbox.commit, super().commit)

    async def rollback(self) -> None:
        await self._end(self._sandbox.rollback, super().rollback)

    async def _end(
        self, end: Callable[[Transaction], Awaitable[None]], really_end: Callable[[], Awaitable[None]]
    ) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            if self._epoch == self._sandbox.epoch:
                await end(transaction)
        elif self._is_really_busy:
            await self._use_real_connection()
            await really_end()

    def _set_isolation_level(self, value: Any) -> None:
        if value not in (None, psycopg.IsolationLevel.READ_COMMITTED) and self._sandbox.test is not None:
            raise own_isolation_level(value.name, self._sandbox.test)
        self._isolation_level = value

    async def set_isolation_level(self, value: Any) -> None:
        self._set_isolation_level(value)

    async def set_read_only(self, value: bool | None) -> None:
        self._read_only = value
        self._begin_statement = b""  # psycopg builds it from the new value

    async def set_deferrable(self, value: bool | None) -> None:
        self._deferrable = value
        self._begin_statement = b""

    async def set_autocommit(self, value: bool) -> None:
        self._autocommit = bool(value)

    def settle(self) -> None:
        """Roll back what a test left open for real; a connection that is still at work is closed."""
        if self._real is None or self._real.closed:
            return
        if self._real.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            self.drop_own()
        else:
            self._real.pgconn.exec_(b"ROLLBACK")

    def drop_own(self) -> None:
        """Close the server connection that is this one's own; the next use opens another."""
        if self._real is not None:
            self._real.pgconn.finish()
            self._real = None

    @property
    def closed(self) -> bool:
        return self._is_closed

    async def close(self) -> None:
        self._is_closed = True
        await self._end(self._sandbox.rollback, super().rollback)
        if self._real is not None:
            await self._real.close()


async def _connect(parameters: dict[str, Any]) -> psycopg.AsyncConnection[Any]:
    connection = await psycopg.AsyncConnection.connect(**parameters)
    connection.pgconn.exec_(OF_A_TEST.encode())
    return connection


def _text(query: Any, connection: SharedAsyncConnection) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(connection)
    return query.decode() if isinstance(query, bytes) else str(query)
