"""Which databases of a server are ours, which of those nobody uses, and how they are dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass

import asyncpg

from pytest_savepoint.databases.names import (
    BIRTH_MARK,
    RUN_LOCKS,
    TEMPLATE_LOCKS,
    lock_key,
    quoted,
    run_of,
    template_of,
)
from pytest_savepoint.databases.session import Connection
from pytest_savepoint.errors import GuardError

__all__ = ["MOST_KEPT", "Owned", "drop_dead_runs", "drop_idle_templates", "drop_ours", "owned_databases"]

_ALL = """
select datname, datconnlimit, datistemplate, coalesce(shobj_description(oid, 'pg_database'), '') as comment
from pg_database where datname like 'savepoint\\_%'
"""

MOST_KEPT = 20
"""Databases of failed tests that may stay on a server."""

_LIVING = """
select objid::bigint from pg_locks where locktype = 'advisory' and objsubid = 2 and granted and classid = $1
and database = (select oid from pg_database where datname = current_database())
"""


@dataclass(frozen=True)
class Owned:
    """A database with our mark."""

    name: str
    is_template: bool
    created: str
    is_kept: bool
    """It shows what a failed test left, so it outlives its run."""


async def owned_databases(connection: Connection) -> list[Owned]:
    """The databases that carry our mark; a name like ours is not enough."""
    found = []
    for row in await connection.fetch(_ALL):
        mark = _mark(row["comment"])
        if mark is None and row["datconnlimit"] != BIRTH_MARK:
            continue
        if run_of(row["datname"]) or template_of(row["datname"]):
            mark = mark or {}
            is_kept = mark.get("kind") == "kept"
            found.append(Owned(row["datname"], row["datistemplate"], mark.get("created", ""), is_kept))
    return found


async def drop_dead_runs(connection: Connection, *, keep: int = MOST_KEPT) -> list[str]:
    """Drop the databases of runs that live no more, and give their names.

    A run takes its lock before it makes its first database and keeps it until the last one is dropped.

    :param keep: how many of the kept ones stay, the newest.
    """
    owned = await owned_databases(connection)
    kept = sorted((database for database in owned if database.is_kept), key=lambda each: each.created, reverse=True)
    spared = kept[:keep]
    living = {row["objid"] for row in await connection.fetch(_LIVING, RUN_LOCKS)} if owned else set()
    dead = []
    for database in owned:
        run_id = run_of(database.name)
        is_idle = run_id and int(run_id, 16) not in living and database not in spared
        if is_idle and await _drop(connection, database):
            dead.append(database.name)
    return dead


async def drop_idle_templates(connection: Connection, *, keep: int) -> list[str]:
    """Drop all templates but the `keep` newest and those that a run uses, and give their names."""
    templates = [database for database in await owned_databases(connection) if template_of(database.name)]
    templates.sort(key=lambda template: template.created, reverse=True)
    dropped = []
    for template in templates[keep:]:
        key = lock_key(template_of(template.name) or "")
        if await connection.fetchval("select pg_try_advisory_lock($1, $2)", TEMPLATE_LOCKS, key):
            try:
                if await _drop(connection, template):
                    dropped.append(template.name)
            finally:
                await connection.execute("select pg_advisory_unlock($1, $2)", TEMPLATE_LOCKS, key)
    return dropped


async def drop_ours(connection: Connection, name: str) -> None:
    """Drop a database of ours with all its connections; one that is gone is no fault.

    :raises GuardError: when the database carries no mark of ours.
    """
    owned = {database.name: database for database in await owned_databases(connection)}
    if name in owned:
        await _drop(connection, owned[name])
    elif await connection.fetchval("select true from pg_database where datname = $1", name):
        raise GuardError(
            f"The database {name} has a name like ours but not our mark, so it is not dropped.\n"
            f"If you know that nobody needs it, drop it yourself: DROP DATABASE {quoted(name)}."
        )


async def _drop(connection: Connection, database: Owned) -> bool:
    try:
        if database.is_template:
            await connection.execute(f"alter database {quoted(database.name)} is_template false")
        await connection.execute(f"drop database if exists {quoted(database.name)} with (force)")
    except (asyncpg.InvalidCatalogNameError, asyncpg.ObjectInUseError):  # another run was faster, or clones it now
        return False
    except asyncpg.InsufficientPrivilegeError:  # it belongs to another role's run
        return False
    return True


def _mark(comment: str) -> dict[str, str] | None:
    try:
        mark = json.loads(comment)["savepoint"]
    except (ValueError, KeyError, TypeError):
        return None
    return mark if isinstance(mark, dict) else None
