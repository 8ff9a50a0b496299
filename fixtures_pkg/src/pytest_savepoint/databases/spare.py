"""Clones for tests that need a database of their own, the next one made while the present test runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.databases.clone import create_clone, create_clones
from pytest_savepoint.databases.kept import has_room, keep
from pytest_savepoint.databases.names import database_name
from pytest_savepoint.databases.owned import drop_ours
from pytest_savepoint.databases.rows import Tables
from pytest_savepoint.databases.session import Connection, connect, session

__all__ = ["CloneSource", "SpareClones"]


@dataclass(frozen=True)
class CloneSource:
    """What the databases of a run are made from, so that a worker can make one itself."""

    run_id: str
    template: str
    carried: tuple[str, ...]


class SpareClones:
    """The clones of one worker; at most one waits to be used."""

    def __init__(self, address: Address, source: CloneSource, worker: str) -> None:
        self._address = address
        self._source = source
        self._worker = worker
        self._made = 0
        self._spare: Future[str] | None = None
        self._dropping: list[Future[None]] = []
        self._background = Background()
        self._creating = _Line(address)
        self._removing = _Line(address)

    def prepare(self) -> None:
        """Begin to make the next one, unless it is on its way."""
        if self._spare is None:
            self._spare = self._background.submit(self._copy(self._source.template))

    def take(self) -> str:
        """The name of a fresh clone of the template; the next one is begun at once.

        :raises ServerError: with the server's own words.
        """
        self.prepare()
        assert self._spare is not None, "it was just begun"
        spare, self._spare = self._spare, None
        name = spare.result()
        self.prepare()
        return name

    def copy(self, database: str) -> str:
        """The name of a copy of another database of this run; sessions that are idle there are ended.

        :raises ServerError: with the server's own words.
        """
        return self._background.call(self._copy(database, end_sessions=True))

    def has_room_to_keep(self) -> bool:
        """Whether this run may keep one more clone."""
        return self._background.call(self._has_room_to_keep())

    def keep(self, name: str, test: str) -> None:
        """Let a clone outlive the run, for the failure of `test`."""
        self._background.call(self._keep(name, test))

    def drop(self, name: str) -> None:
        """Drop a clone after its test, without waiting for it."""
        self._dropping = [drop for drop in self._dropping if not drop.done()]
        self._dropping.append(self._background.submit(self._drop(name)))

    def remake(self, name: str) -> None:
        """Drop a database of this run and make it anew from the template.

        :raises ServerError: with the server's own words.
        """
        self._background.call(self._remake(name))

    def execute(self, database: str, sql: str) -> None:
        """Run SQL in a database of this run."""
        if sql:
            self._background.call(self._execute(database, sql))

    def read_tables(self, database: str) -> Tables:
        """What the tables of a fresh clone hold."""
        return self._background.call(self._read_tables(database))

    def close(self) -> None:
        """Wait for what is under way, and drop the clone that nobody used."""
        if self._spare is not None and self._spare.exception() is None:
            self.drop(self._spare.result())
        for drop in self._dropping:
            # The end of the run drops what could not be dropped here.
            drop.exception()
        self._background.call(self._disconnect())
        self._background.close()

    async def _disconnect(self) -> None:
        await self._creating.close()
        await self._removing.close()

    async def _copy(self, database: str, *, end_sessions: bool = False) -> str:
        self._made += 1
        name = database_name(self._source.run_id, f"{self._worker}_{self._made}")
        async with self._creating.in_use() as connection:
            if end_sessions:
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", database
                )
            await create_clone(connection, database, self._source.carried, name, self._source.run_id)
        return name

    async def _read_tables(self, database: str) -> Tables:
        async with session(self._address, database) as connection:
            return await Tables.read(connection)

    async def _execute(self, database: str, sql: str) -> None:
        async with session(self._address, database) as connection:
            await connection.execute(sql)

    async def _has_room_to_keep(self) -> bool:
        async with self._creating.in_use() as connection:
            return await has_room(connection, self._source.run_id)

    async def _keep(self, name: str, test: str) -> None:
        async with self._creating.in_use() as connection:
            await keep(connection, name, self._source.run_id, test)

    async def _drop(self, name: str) -> None:
        async with self._removing.in_use() as connection:
            await drop_ours(connection, name)

    async def _remake(self, name: str) -> None:
        await self._drop(name)
        await create_clones(self._address, self._source.template, self._source.carried, [name], self._source.run_id)


class _Line:
    """A connection that stays open from one clone to the next, for one statement at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None
        self._lock: asyncio.Lock | None = None

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[Connection]:
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await connect(self._address)
            yield self._connection

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
