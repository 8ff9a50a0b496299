"""The SQLite database in memory of one process, and how every SQLite engine is led to it."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Dialect

from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.origin import find_origin
from pytest_savepoint.isolation.sandbox import Sandbox

__all__ = ["MemoryDatabase", "SqliteEngines"]

_serial = itertools.count(1)


class _Connection(sqlite3.Connection):
    """One that begins no transaction by itself; the attribute takes what SQLAlchemy says, and SQLite does not hear it."""

    isolation_level: Any = ""


class MemoryDatabase:
    """A database in memory, with as many connections as are asked for; it is gone with the last of them."""

    def __init__(self, template: Path) -> None:
        """Begin with what the file `template` holds."""
        self._template = template
        self._functions: dict[Any, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._connections: weakref.WeakSet[sqlite3.Connection] = weakref.WeakSet()
        with contextlib.closing(sqlite3.connect(template)) as source:
            self._fill(source)

    def _fill(self, source: sqlite3.Connection) -> None:
        self.close()
        # A new name, because a statement that somebody left unfinished keeps the old database locked.
        self._address = f"file:savepoint_{next(_serial)}?mode=memory&cache=shared"
        self._keeper = self.connect()
        source.backup(self._keeper)

    def connect(self) -> sqlite3.Connection:
        """A connection of its own, which enforces foreign keys, as PostgreSQL does."""
        connection = sqlite3.connect(
            self._address, uri=True, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        connection.execute("PRAGMA foreign_keys = ON")
        for arguments, options in self._functions.values():
            connection.create_function(*arguments, **options)
        self._connections.add(connection)
        return connection

    def disconnect(self, connection: sqlite3.Connection) -> None:
        """Close one of its connections, which rolls back what was open there."""
        self._connections.discard(connection)
        connection.close()

    def holds(self, connection: sqlite3.Connection) -> bool:
        """Whether that connection still leads here, and not to what was here before."""
        return connection in self._connections

    def add_function(self, *arguments: Any, **options: Any) -> None:
        """Give SQL a function, on every connection; a connection of SQLite has its own."""
        self._functions[arguments[:2]] = arguments, options
        for connection in self._connections:
            connection.create_function(*arguments, **options)

    def make_anew(self) -> None:
        """Close every connection, and begin again with what the template holds."""
        with contextlib.closing(sqlite3.connect(self._template)) as source:
            self._fill(source)

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Undo whatever the block does, commits and DDL included; every connection is closed at its end."""
        with contextlib.closing(sqlite3.connect(":memory:")) as before:
            self._keeper.backup(before)
            try:
                yield
            finally:
                self._fill(before)

    def close(self) -> None:
        """Close every connection, and with them the database."""
        for connection in list(self._connections):
            self.disconnect(connection)


class SqliteEngines:
    """Leads every async SQLite engine of this process to one database in memory; in a test, to one connection."""

    def __init__(self, template: Path, *, timeout: float) -> None:
        """
        :param template: the file that holds what every test is to find.
        :param timeout: seconds that one session may wait for another in a test.
        """
        from pytest_savepoint.isolation.sqlite_connection import SqliteWire  # noqa: PLC0415 # aiosqlite is the caller's

        self.database = MemoryDatabase(template)
        self._shared: weakref.WeakSet[Any] = weakref.WeakSet()

        async def open_wire() -> SqliteWire:
            return SqliteWire(self.database)

        self.sandbox = Sandbox({"aiosqlite": open_wire}, timeout=timeout)
        event.listen(sqlalchemy.Engine, "do_connect", self._lead)

    def _lead(self, dialect: Dialect, _record: Any, _arguments: list[Any], _parameters: dict[str, Any]) -> Any:
        if dialect.name == "postgresql":
            raise SandboxError(
                f"An engine for PostgreSQL ({dialect.driver}) was used at {find_origin()}, but provider is sqlite, so "
                "no PostgreSQL was started.\nMake the engine from the URL in DATABASE_URL (database-url-env), or set "
                "provider to auto."
            )
        if dialect.driver != "aiosqlite":
            return None
        from pytest_savepoint.isolation.sqlite_connection import (  # noqa: PLC0415 # as above
            AdaptedConnection,
            SharedConnection,
        )

        shared = SharedConnection(self.sandbox, self.database)
        self._shared.add(shared)
        return AdaptedConnection(dialect.loaded_dbapi, shared)  # type: ignore[arg-type]

    def settle(self) -> None:
        """Roll back what a test that commits for real has left open."""
        for connection in list(self._shared):
            connection.settle()

    def close(self) -> None:
        """Give the engines back their own databases."""
        event.remove(sqlalchemy.Engine, "do_connect", self._lead)
        self.sandbox.close()
        self.database.close()
