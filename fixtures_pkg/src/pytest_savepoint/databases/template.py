"""The migrated database that all clones come from: built once, by one of all runs, and then never connected to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import asyncpg

from pytest_savepoint.address import Address
from pytest_savepoint.databases.audit import install_audit
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.clone import carried_over
from pytest_savepoint.databases.lease import Lease
from pytest_savepoint.databases.names import (
    BIRTH_MARK,
    BUILD_LOCKS,
    TEMPLATE_LOCKS,
    database_name,
    lock_key,
    mark_of,
    quoted,
    quoted_text,
    template_name,
)
from pytest_savepoint.databases.owned import drop_idle_templates, drop_ours, owned_databases
from pytest_savepoint.databases.schema import Schema
from pytest_savepoint.databases.session import Connection, session
from pytest_savepoint.errors import GuardError, MigrationError

__all__ = ["Template", "get_or_build_template"]

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


async def get_or_build_template(lease: Lease, address: Address, schema: Schema, builder: Builder) -> Template:
    """Find the template of `schema`, or build it while other runs that want it wait.

    It stays in use, and is not dropped, for as long as the lease's connection lives.

    :raises MigrationError: when it cannot be built.
    :raises GuardError: when a database that is not ours has its name.
    """
    started = time.monotonic()
    connection = lease.connection
    fingerprint = schema.fingerprint(str(connection.get_server_version()), address.user)[:12]
    key = lock_key(fingerprint)
    await connection.execute("select pg_advisory_lock_shared($1, $2)", TEMPLATE_LOCKS, key)
    hit = await _is_there(connection, template_name(fingerprint))
    if not hit:
        await connection.execute("select pg_advisory_lock($1, $2)", BUILD_LOCKS, key)
        try:
            hit = await _is_there(connection, template_name(fingerprint))
            if not hit:
                await _build(lease, address, schema, builder, fingerprint)
        finally:
            await connection.execute("select pg_advisory_unlock($1, $2)", BUILD_LOCKS, key)
    name = template_name(fingerprint)
    carried = await carried_over(connection, name)
    return Template(name, fingerprint, hit, time.monotonic() - started, schema.source, schema.note, carried)


async def _is_there(connection: Connection, name: str) -> bool:
    if not await connection.fetchval("select true from pg_database where datname = $1", name):
        return False
    if name not in {database.name for database in await owned_databases(connection)}:
        raise GuardError(
            f"The template's name {name} belongs to a database that is not ours: it has no mark.\n"
            "Rename or drop that database yourself, or give another server in server-url."
        )
    return True


async def _build(lease: Lease, address: Address, schema: Schema, builder: Builder, fingerprint: str) -> None:
    # Until it is finished it carries a name of this run: a builder that dies leaves nothing that looks like a
    # template, and its orphaned migration can never write into somebody else's.
    connection = lease.connection
    unfinished = database_name(lease.run_id, "template")
    await connection.execute(f"create database {quoted(unfinished)} template template0 connection limit {BIRTH_MARK}")
    try:
        await connection.execute(
            f"comment on database {quoted(unfinished)} is {quoted_text(mark_of('template', lease.run_id))}"
        )
        await builder.build(schema, address, unfinished)
        async with session(address, unfinished) as inside:
            await install_audit(inside)
        await _finish(connection, unfinished, template_name(fingerprint))
    except BaseException:
        await drop_ours(connection, unfinished)
        raise
    await drop_idle_templates(connection, keep=_KEPT_TEMPLATES)


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
