"""One run's databases, from the server to the clones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import asyncpg

from pytest_savepoint.background import Background
from pytest_savepoint.cache import cache_directory
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.clone import create_clones
from pytest_savepoint.databases.lease import Lease
from pytest_savepoint.databases.names import database_name, new_run_id, run_of
from pytest_savepoint.databases.owned import drop_dead_runs, drop_ours, owned_databases
from pytest_savepoint.databases.schema import Schema, chosen_schema
from pytest_savepoint.databases.session import session
from pytest_savepoint.databases.template import Template, get_or_build_template
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.settings import Settings

__all__ = ["DatabaseRun"]


class DatabaseRun:
    """One run: its id, its server, its template and its databases, until `close`.

    All methods block, and may be called while an event loop of the caller's is running.
    """

    def __init__(self, run_id: str, server: Server, background: Background) -> None:
        self.id = run_id
        self.server = server
        self.template: Template
        self._background = background
        self._lease: Lease
        self._databases: dict[str, str] = {}
        self._is_open = True

    @classmethod
    def open(cls, settings: Settings, project: Path, *, python: str, environ: Mapping[str, str]) -> DatabaseRun:
        """Get a server and the migrated template; no database of a worker exists yet.

        :param project: the folder in which migrations run.
        :param python: the interpreter of the caller's environment, for the migrations.
        :param environ: the caller's environment, for the migrations; it also says where our cache is.
        :raises ServerError: when no server answers.
        :raises GuardError: when the given server must not be used.
        :raises MigrationError: when the template cannot be built, or is not what is built anew.
        """
        schema = chosen_schema(settings, project.resolve())
        server = start_server(settings, cache=cache_directory(environ))
        run = cls(new_run_id(), server, Background())
        try:
            run._background.call(
                run._prepare(schema, Builder(settings, python, environ), cache=cache_directory(environ))
            )
        except BaseException:
            with contextlib.suppress(ServerError):
                run.close()
            raise
        return run

    async def _prepare(self, schema: Schema, builder: Builder, *, cache: Path) -> None:
        self._lease = await Lease.take(self.server.address, self.id)
        await drop_dead_runs(self._lease.connection)
        self.template = await get_or_build_template(self._lease, self.server.address, schema, builder, cache=cache)

    @property
    def databases(self) -> Mapping[str, str]:
        """The databases that exist now, by worker."""
        return MappingProxyType(self._databases)

    def database(self, worker: str) -> str:
        """The name of the worker's database, whether it exists yet or not."""
        return database_name(self.id, worker)

    def create_databases(self, workers: Sequence[str]) -> None:
        """Clone the template for each of `workers`, several at a time.

        :raises ServerError: with the server's own words.
        """
        names = {worker: self.database(worker) for worker in workers}
        carried = self.template.carried
        self._background.call(
            create_clones(self.server.address, self.template.name, carried, list(names.values()), self.id)
        )
        self._databases.update(names)

    def close(self) -> None:
        """Drop this run's databases, and give back its lease and its server; a second call does nothing.

        :raises ServerError: when databases had to be left behind; everything else has been given back by then.
        """
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._background.call(self._leave())
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise ServerError(
                f"The databases of run {self.id} at {self.server.address.shown()} could not be dropped: {error}.\n"
                "`savepoint clean` drops them when the server answers again."
            ) from error
        finally:
            self._background.close()
            self.server.stop()

    async def _leave(self) -> None:
        lease = getattr(self, "_lease", None)
        if lease is None:
            return
        try:
            self._databases.clear()
            # Also those that workers made themselves, for tests that needed one of their own.
            async with session(self.server.address) as connection:
                owned = await owned_databases(connection)
            if any(each.is_kept for each in owned):
                self.server.keep()
            ours = [each.name for each in owned if run_of(each.name) == self.id and not each.is_kept]
            await asyncio.gather(*(self._drop(name) for name in ours))
        finally:
            await lease.give_back()

    async def _drop(self, name: str) -> None:
        async with session(self.server.address) as connection:
            await drop_ours(connection, name)
