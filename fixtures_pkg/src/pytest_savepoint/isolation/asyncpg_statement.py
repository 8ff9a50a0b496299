"""Prepared statements and cursors of a stand-in connection, found again by their text on whatever loop they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire

if TYPE_CHECKING:
    from pytest_savepoint.isolation.asyncpg_connection import SharedConnection

__all__ = ["SharedStatement"]

# Stands for whatever moves a cursor, which changes nothing.
_FETCH = "select 1"


class SharedStatement:
    """A stand-in for one prepared statement; found again by its text on whatever loop it is used."""

    def __init__(self, connection: SharedConnection, query: str) -> None:
        self._connection = connection
        self._query = query
        self._inner: Any = None
        self._status = ""

    async def describe(self) -> None:
        wire = self._connection._sandbox.wire
        if self._connection._in_sandbox and isinstance(wire, AsyncpgWire):
            self._inner = wire.known_statement(self._query)
        if self._inner is None:
            await self._connection._run(self._query, self._find, describes=True)

    async def _find(self, _connection: asyncpg.Connection) -> Any:
        self._inner = await self._connection._wire.prepared(self._query)
        return self._inner

    async def _call(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        async def operation(connection: asyncpg.Connection) -> Any:
            inner = await self._find(connection)
            result = await getattr(inner, method)(*args, **options)
            self._status = inner.get_statusmsg()
            return result

        return await self._connection._run(self._query, operation)

    async def fetch(self, *args: Any, **options: Any) -> Any:
        return await self._call("fetch", args, options)

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        return await self._call("fetchrow", args, options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        return await self._call("fetchval", args, options)

    async def executemany(self, args: Any, **options: Any) -> Any:
        return await self._call("executemany", (args,), options)

    async def cursor(self, *args: Any, **options: Any) -> _SharedCursor:
        async def operation(connection: asyncpg.Connection) -> Any:
            return await (await self._find(connection)).cursor(*args, **options)

        return _SharedCursor(self._connection, await self._connection._run(self._query, operation))

    def get_attributes(self) -> Any:
        return self._inner.get_attributes()

    def get_parameters(self) -> Any:
        return self._inner.get_parameters()

    def get_query(self) -> str:
        return self._query

    def get_statusmsg(self) -> str:
        return self._status


class _SharedCursor:
    """A stand-in for one server-side cursor."""

    def __init__(self, connection: SharedConnection, inner: Any) -> None:
        self._connection = connection
        self._inner = inner

    async def fetch(self, count: int, **options: Any) -> Any:
        return await self._connection._run(_FETCH, lambda _: self._inner.fetch(count, **options))

    async def fetchrow(self, **options: Any) -> Any:
        return await self._connection._run(_FETCH, lambda _: self._inner.fetchrow(**options))

    async def forward(self, count: int, **options: Any) -> Any:
        return await self._connection._run(_FETCH, lambda _: self._inner.forward(count, **options))
