"""What an engine gets in place of an aiosqlite connection: in a test it speaks through the sandbox.

SQLite in memory answers within microseconds, so nothing here needs aiosqlite's thread: a statement runs where it is
awaited, and a connection serves loop after loop.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection

from pytest_savepoint.isolation.sandbox import Sandbox
from pytest_savepoint.isolation.sqlite_memory import MemoryDatabase
from pytest_savepoint.isolation.statements import classify
from pytest_savepoint.isolation.transaction import Transaction

__all__ = ["AdaptedConnection", "SharedConnection", "SqliteWire"]

_RUNS_SQL = frozenset({"execute", "executemany", "_execute_insert", "_execute_fetchall"})
_PRAGMA = re.compile(r"\s*pragma\b(?P<sets>[^=]*=)?", re.IGNORECASE)
_OUTSIDE_TRANSACTIONS = re.compile(r"\s*(pragma|vacuum|attach|detach)\b", re.IGNORECASE)
_NO_ROWS = "SELECT NULL WHERE 0"
_FETCHED_AT_ONCE = 64


class SqliteWire:
    """The connection under the sandbox, the same on every loop."""

    driver = "aiosqlite"

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.raw = database.connect()
        self.heard: list[str] = []
        self._is_open = True

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def backend_pid(self) -> int:
        """SQLite's server is this process."""
        return os.getpid()

    @property
    def is_in_transaction(self) -> bool:
        """As SQLite said with its last answer."""
        return self.raw.in_transaction

    async def connection(self, *, in_transaction: bool) -> sqlite3.Connection:  # noqa: ARG002 # asked by `Wire`
        return self.raw

    async def execute(self, sql: str) -> None:
        """Run one or more statements of the sandbox."""
        for statement in sql.split("; "):
            self.raw.execute(statement)

    async def precede(self, sql: str) -> None:
        """Run them before the next statement, which is now: nothing is saved by waiting."""
        await self.execute(sql)

    @property
    def refusal(self) -> str:
        """Nothing is refused later than `precede` tells."""
        return ""

    def execute_now(self, sql: str) -> bool:
        """Run one or more statements of the sandbox; tell whether they had no error."""
        try:
            for statement in filter(None, sql.split("; ")):
                self.raw.execute(statement)
        except sqlite3.Error:
            return False
        return True

    def forget_statements(self) -> None:
        """SQLite prepares again by itself what DDL has changed."""

    def close(self) -> None:
        """Close the connection, which rolls back what was open."""
        self._is_open = False
        self._database.disconnect(self.raw)


class _Queue:
    """In the place of aiosqlite's queue to its thread, into which SQLAlchemy puts a change of the isolation level."""

    def __init__(self, run: Callable[[Callable[[], Any]], None]) -> None:
        self._run = run

    def put_nowait(self, item: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, function = item
        self._run(function)
        future.set_result(None)


class SharedConnection(aiosqlite.Connection):
    """A stand-in for one `aiosqlite.Connection` of an engine."""

    belongs_to_no_loop = True

    def __init__(self, sandbox: Sandbox, database: MemoryDatabase) -> None:
        self._is_closed = False
        super().__init__(database.connect, _FETCHED_AT_ONCE)
        self._tx = _Queue(self._change_level)  # type: ignore[assignment]
        self._sandbox = sandbox
        self._database = database
        self._transaction: Transaction | None = None
        self._epoch = -1
        self._autocommit = False
        self._own: sqlite3.Connection | None = None

    def __del__(self, *_: Any) -> None:
        """Say nothing of an unclosed connection: it is the sandbox's."""

    @property
    def _connection(self) -> sqlite3.Connection | None:
        if self._is_closed:
            return None
        if not self._in_sandbox:
            return self._real()
        if self._sandbox.wire is None:
            self._sandbox.wire = SqliteWire(self._database)
        wire = self._sandbox.wire
        assert isinstance(wire, SqliteWire), "the only driver of this sandbox"
        return wire.raw

    @_connection.setter
    def _connection(self, _: object) -> None:
        """Take what aiosqlite says of a connection that it has not made."""

    def _real(self) -> sqlite3.Connection:
        if self._own is None or not self._database.holds(self._own):
            self._own = self._database.connect()
        return self._own

    @property
    def _in_sandbox(self) -> bool:
        return self._sandbox.test is not None and not self._is_really_busy

    @property
    def _is_really_busy(self) -> bool:
        return self._own is not None and self._database.holds(self._own) and self._own.in_transaction

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._is_closed:
            raise ValueError("Connection closed")
        if fn.__name__ == "executescript":
            # SQLite's own would commit first, and with that the transaction that isolates the test.
            for statement in _statements(args[0]):
                await self._run(statement, partial(fn.__self__.execute, statement))  # type: ignore[attr-defined]
            return fn.__self__  # type: ignore[attr-defined]
        if fn.__name__ not in _RUNS_SQL:
            return fn(*args, **kwargs)
        pragma = _PRAGMA.match(args[0])
        if pragma is None or not self._in_sandbox:
            return await self._run(args[0], partial(fn, *args, **kwargs))
        # What it sets is the connection's, which is not this engine's own.
        return fn(_NO_ROWS) if pragma["sets"] else fn(*args, **kwargs)

    async def _run(self, sql: str, operation: Callable[[], Any]) -> Any:
        if not self._in_sandbox:
            if not (self._autocommit or self._is_really_busy or _OUTSIDE_TRANSACTIONS.match(sql)):
                self._real().execute("BEGIN")
            return operation()
        if self._transaction is None or self._epoch != self._sandbox.epoch:
            self._transaction = Transaction("aiosqlite")
            self._epoch = self._sandbox.epoch
        try:
            result = await self._sandbox.run(self._transaction, classify(sql), lambda _: _awaitable(operation))
        except BaseException:
            if self._autocommit:
                await self.rollback()
            raise
        if self._autocommit:
            await self.commit()
        return result

    def _change_level(self, function: Callable[[], Any]) -> None:
        function()
        connection = self._connection
        self._autocommit = connection is not None and connection.isolation_level is None

    async def commit(self) -> None:
        await self._end(self._sandbox.commit, "COMMIT")

    async def rollback(self) -> None:
        await self._end(self._sandbox.rollback, "ROLLBACK")

    async def _end(self, end: Callable[[Transaction], Awaitable[None]], sql: str) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            if self._epoch == self._sandbox.epoch:
                await end(transaction)
        elif self._is_really_busy:
            self._real().execute(sql)

    async def create_function(self, *args: Any, **options: Any) -> None:
        self._database.add_function(*args, **options)

    def settle(self) -> None:
        """Roll back what a test left open for real."""
        if self._is_really_busy:
            self._real().execute("ROLLBACK")

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Close it; what it has open in a test is rolled back before the next statement."""
        self._is_closed = True
        transaction, self._transaction = self._transaction, None
        if transaction is not None and self._epoch == self._sandbox.epoch:
            self._sandbox.abandon(transaction)
        if self._own is not None:
            self._database.disconnect(self._own)
            self._own = None


class AdaptedConnection(AsyncAdapt_aiosqlite_connection):
    """What SQLAlchemy makes of a stand-in; it can be closed when no event loop is there any more."""

    __slots__ = ()

    def close(self) -> None:
        self._connection.stop()

    def terminate(self) -> None:
        self.close()


async def _awaitable(operation: Callable[[], Any]) -> Any:
    return operation()


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \t\r\n;"):
                yield statement
            statement = ""
