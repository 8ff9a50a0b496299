"""The migrated database that all clones come from: built once, by one of all runs, and then never connected to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from pytest_savepoint.address import Address
from pytest_savepoint.databases.audit import install_audit
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.clone import carried_over, create_clone, create_empty
from pytest_savepoint.databases.lease import Lease
from pytest_savepoint.databases.names import (
    BUILD_LOCKS,
    TEMPLATE_LOCKS,
    database_name,
    lock_key,
    quoted,
    template_name,
)
from pytest_savepoint.databases.owned import drop_idle_templates, drop_ours, owned_databases
from pytest_savepoint.databases.proof import Proof
from pytest_savepoint.databases.schema import Schema
from pytest_savepoint.databases.session import Connection, session
from pytest_savepoint.databases.stored import StoredTemplate
from pytest_savepoint.errors import GuardError, MigrationError, ServerError

__all__ = ["Template", "get_or_build_template", "stored_template"]

_KEPT_TEMPLATES = 8
_SECONDS_TO_LEAVE = 10.0


@dataclass(frozen=True)
class Template:
    """A finished template; `hit` when it was there already, `seconds` is the time it took to find or build."""

    name: str
    fingerprint: str
    hit: bool
    seconds: float
    source: str
    note: str
    carried: tuple[str, ...]
    """Statements that give a clone what PostgreSQL does not copy."""
    restored: bool = False
    """It was filled from the cache folder, not by the migrations."""
    stored: bool = False
    """This run has put it into the cache folder."""
    warning: str = ""
    """Why it could not be restored or stored."""


async def get_or_build_template(
    lease: Lease, address: Address, schema: Schema, builder: Builder, *, cache: Path
) -> Template:
    """Find the template of `schema`, or restore or build it while other runs that want it wait.

    It stays in use, and is not dropped, for as long as the lease's connection lives.

    :param cache: where it is stored, with the setting template-cache.
    :raises MigrationError: when it cannot be built, or is not what is built anew, with the setting verify-template.
    :raises GuardError: when a database that is not ours has its name.
    """
    started = time.monotonic()
    connection = lease.connection
    stored = _stored(connection, address, schema, cache)
    fingerprint = stored.fingerprint
    making = _Making(lease, address, schema, builder, stored)
    key = lock_key(fingerprint)
    await connection.execute("select pg_advisory_lock_shared($1, $2)", TEMPLATE_LOCKS, key)
    hit = await _is_there(connection, template_name(fingerprint))
    if not hit:
        await connection.execute("select pg_advisory_lock($1, $2)", BUILD_LOCKS, key)
        try:
            hit = await _is_there(connection, template_name(fingerprint))
            if not hit:
                await making.make(template_name(fingerprint))
        finally:
            await connection.execute("select pg_advisory_unlock($1, $2)", BUILD_LOCKS, key)
    name = template_name(fingerprint)
    carried = await carried_over(connection, name)
    if hit and builder.settings.verify_template:
        await making.verify(name, carried)
    seconds = time.monotonic() - started
    return Template(
        name, fingerprint, hit, seconds, schema.source, schema.note, carried,
        restored=making.was_restored, stored=making.was_stored, warning=" ".join(making.warnings),
    )  # fmt: skip


async def stored_template(address: Address, schema: Schema, *, cache: Path) -> StoredTemplate:
    """The file in which the template of `schema` is kept for servers such as this one, whether it is there or not."""
    async with session(address) as connection:
        return _stored(connection, address, schema, cache)


def _stored(connection: Connection, address: Address, schema: Schema, cache: Path) -> StoredTemplate:
    version = connection.get_server_version()
    fingerprint = schema.fingerprint(str(version), address.user)[:12]
    return StoredTemplate(cache / "templates", fingerprint, address, version.major)


async def _is_there(connection: Connection, name: str) -> bool:
    if not await connection.fetchval("select true from pg_database where datname = $1", name):
        return False
    if name not in {database.name for database in await owned_databases(connection)}:
        raise GuardError(
            f"The template's name {name} belongs to a database that is not ours: it has no mark.\n"
            "Rename or drop that database yourself, or give another server in server-url."
        )
    return True


@dataclass
class _Making:
    """How the template of one fingerprint comes to be on a server that has none."""

    lease: Lease
    address: Address
    schema: Schema
    builder: Builder
    stored: StoredTemplate
    was_restored: bool = False
    was_stored: bool = False
    warnings: list[str] = field(default_factory=list)

    async def make(self, name: str) -> None:
        # Until it is finished it carries a name of this run: a builder that dies leaves nothing that looks like a
        # template, and its orphaned migration can never write into somebody else's.
        connection = self.lease.connection
        unfinished = database_name(self.lease.run_id, "template")
        await create_empty(connection, unfinished, "template", self.lease.run_id)
        try:
            await self._fill(unfinished)
            async with session(self.address, unfinished) as inside:
                await install_audit(inside)
            if self.was_restored and self.builder.settings.verify_template:
                await self._proof.compare(unfinished, await carried_over(connection, unfinished))
            await _finish(connection, unfinished, name)
        except BaseException:
            await drop_ours(connection, unfinished)
            raise
        await drop_idle_templates(connection, keep=_KEPT_TEMPLATES)

    async def verify(self, template: str, carried: tuple[str, ...]) -> None:
        """See that a template that was there holds what is built anew."""
        # Nobody can connect to the template itself.
        copy = database_name(self.lease.run_id, "found")
        await create_clone(self.lease.connection, template, carried, copy, self.lease.run_id)
        try:
            await self._proof.compare(copy, carried)
        finally:
            await drop_ours(self.lease.connection, copy)

    @property
    def _proof(self) -> Proof:
        return Proof(self.lease, self.address, self.schema, self.builder)

    async def _fill(self, database: str) -> None:
        is_stored = self.builder.settings.template_cache and self.schema.source != "none"
        if is_stored:
            try:
                self.was_restored = await self.stored.restore(database)
            except ServerError as error:
                self.warnings.append(f"The template was built, because its file could not be restored. {error}")
        if self.was_restored:
            return
        await self.builder.build(self.schema, self.address, database)
        if is_stored:
            await self._store(database)

    async def _store(self, database: str) -> None:
        if await carried_over(self.lease.connection, database):
            self.warnings.append("The template is not stored: its migrations change the database itself (ALTER DATABASE, GRANT).")
            return
        try:
            await self.stored.store(database)
            self.was_stored = True
        except ServerError as error:
            self.warnings.append(f"The template is not stored. {error}")


async def _finish(connection: Connection, unfinished: str, name: str) -> None:
    await connection.execute(f"alter database {quoted(unfinished)} with allow_connections false is_template true")
    deadline = time.monotonic() + _SECONDS_TO_LEAVE
    while True:
        # Whoever the migrations left behind would make every clone wait five seconds and then fail.
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", unfinished
        )
        try:
            await connection.execute(f"alter database {quoted(unfinished)} rename to {quoted(name)}")
        except asyncpg.ObjectInUseError as error:
            if time.monotonic() >= deadline:
                raise MigrationError(
                    f"Sessions of your migrations stay on the template and do not end within {_SECONDS_TO_LEAVE:.0f} s:"
                    f" {error}.\nClose connections and background programs at the end of env.py or of migrate-command."
                ) from error
            await asyncio.sleep(0.01)
        else:
            return
