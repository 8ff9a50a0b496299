"""A fresh copy of the caller's database for every run, where the suite keeps its own database.

Tests that commit, and fixtures that create tables, find in each run what they found in the first. The copies are ours,
with our mark and our lease; the caller's database is only copied from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.databases.clone import carried_over, create_clones
from pytest_savepoint.databases.lease import Lease
from pytest_savepoint.databases.names import database_name, new_run_id
from pytest_savepoint.databases.owned import drop_dead_runs, drop_ours
from pytest_savepoint.errors import SavepointError
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers import start_server
from pytest_savepoint.servers.given import parse_server_url
from pytest_savepoint.settings import Settings

__all__ = ["FreshDatabases", "fresh_databases"]

LARGEST = 512 * 1024 * 1024
_POSTGRESQL = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)


class FreshDatabases:
    """Copies of one database, one after the other, under a lease."""

    def __init__(self, address: Address, original: str, background: Background) -> None:
        self._address = address
        self._original = original
        self._background = background
        self._run = new_run_id()
        self._lease: Lease
        self._carried: tuple[str, ...] = ()
        self._made = 0

    @contextmanager
    def environment(self, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """The variables, with each URL of the caller's database leading to a copy that lives as long as the block."""
        self._made += 1
        name = database_name(self._run, f"r{self._made}")
        self._background.call(create_clones(self._address, self._snapshot, self._carried, [name], self._run))
        try:
            yield {variable: self._moved(text, name) for variable, text in environ.items()}
        finally:
            self._background.call(drop_ours(self._lease.connection, name))

    @property
    def _snapshot(self) -> str:
        return database_name(self._run, "before")

    def _moved(self, text: str, name: str) -> str:
        """A URL of the original with another database; any other text as it is."""
        if not _POSTGRESQL.match(text):
            return text
        parts = urlsplit(text)
        if parts.path.lstrip("/") not in (self._original, quote(self._original, safe="")):
            return text
        return parts._replace(path=f"/{name}").geturl()

    async def _take(self) -> None:
        self._lease = await Lease.take(self._address, self._run)
        connection = self._lease.connection
        await drop_dead_runs(connection)
        size = await connection.fetchval("select pg_database_size($1)", self._original)
        if size > LARGEST:
            raise SavepointError(
                f"it has {size // 2**20} MiB, and more than {LARGEST // 2**20} are not copied for every run"
            )
        self._carried = await carried_over(connection, self._original)
        # Later runs find what the first found, whatever the suite does to the original in the meantime.
        await create_clones(self._address, self._original, self._carried, [self._snapshot], self._run)

    async def _leave(self) -> None:
        await drop_ours(self._lease.connection, self._snapshot)
        await self._lease.give_back()


@contextmanager
def fresh_databases(
    settings: Settings, environ: Mapping[str, str], *, cache: Path
) -> Iterator[FreshDatabases | str]:
    """Copies of the database that the environment names; the reason where there can be none, empty when it names none."""
    url = next((environ[name] for name in settings.database_url_env if _POSTGRESQL.match(environ.get(name, ""))), "")
    if not url:
        yield ""
        return
    try:
        address = parse_server_url(Secret(url))
        values = {**settings.values, "provider": "url", "server_url": Secret(url), "postgres_version": ""}
        start_server(replace(settings, values=values), cache=cache)  # for its guard: is it a server for tests?
    except SavepointError as error:
        yield str(error)
        return
    with Background() as background:
        copies = FreshDatabases(address, urlsplit(url).path.lstrip("/"), background)
        try:
            background.call(copies._take())  # noqa: SLF001 - its own module
        except (SavepointError, asyncpg.PostgresError, OSError) as error:
            yield address.scrub(str(error))
            return
        try:
            yield copies
        finally:
            background.call(copies._leave())  # noqa: SLF001
