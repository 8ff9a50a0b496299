"""Copies of the template, with what PostgreSQL leaves behind when it copies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from pytest_savepoint.address import Address
from pytest_savepoint.databases.names import BIRTH_MARK, mark_of, quoted, quoted_text
from pytest_savepoint.databases.session import Connection, session
from pytest_savepoint.errors import ServerError

__all__ = ["carried_over", "create_clone", "create_clones", "create_empty"]

_CREATORS = 4
_HAS_STRATEGIES = 150_000

# ALTER DATABASE ... SET stores the elements of these already quoted, as a list.
_LISTS = {
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "shared_preload_libraries",
    "local_preload_libraries",
    "unix_socket_directories",
}

_SETTINGS = """
select r.rolname, s.setting from pg_db_role_setting g
join pg_database d on d.oid = g.setdatabase left join pg_roles r on r.oid = g.setrole,
unnest(g.setconfig) as s (setting) where d.datname = $1
"""

_GRANTS = """
select r.rolname, a.privilege_type, a.is_grantable from pg_database d, aclexplode(d.datacl) a
left join pg_roles r on r.oid = a.grantee where d.datname = $1 and d.datacl is not null
"""

_OWNER = "select pg_get_userbyid(datdba), datdba = current_user::regrole, datacl is not null from pg_database where datname = $1"


async def carried_over(connection: Connection, template: str) -> tuple[str, ...]:
    """The statements that give a clone the settings, grants and owner of `template`; `{database}` is the clone."""
    statements = []
    for role, setting in await connection.fetch(_SETTINGS, template):
        name, _, value = setting.partition("=")
        whose = f"role {quoted(role)} in database" if role else "database"
        path = ".".join(quoted(part) for part in name.split("."))
        statements.append(f"alter {whose} {{database}} set {path} to {_value(name, value)}")
    owner, is_ours, has_grants = await connection.fetchrow(_OWNER, template)
    if has_grants:
        statements.append("revoke all on database {database} from public")
        statements.append(f"revoke all on database {{database}} from {quoted(owner)}")
    for role, privilege, may_grant in await connection.fetch(_GRANTS, template):
        whom = quoted(role) if role else "public"
        option = " with grant option" if may_grant and role else ""
        statements.append(f"grant {privilege} on database {{database}} to {whom}{option}")
    if not is_ours:
        statements.append(f"alter database {{database}} owner to {quoted(owner)}")
    return tuple(statements)


def _value(name: str, value: str) -> str:
    return value if name in _LISTS and value else quoted_text(value)


async def create_clones(
    address: Address, template: str, carried: Sequence[str], names: Sequence[str], run_id: str
) -> None:
    """Make the databases `names` from `template`, several at a time.

    :raises ServerError: with the server's own words.
    """
    waiting = list(names)

    async def create_waiting() -> None:
        async with session(address) as connection:
            while waiting:
                await create_clone(connection, template, carried, waiting.pop(), run_id)

    try:
        await asyncio.gather(*(create_waiting() for _ in range(min(_CREATORS, len(names)))))
    except OSError as error:
        raise _not_made(template, error) from error


async def create_clone(connection: Connection, template: str, carried: Sequence[str], name: str, run_id: str) -> None:
    """Make one database from `template`.

    :raises ServerError: with the server's own words.
    """
    try:
        await _create(connection, template, carried, name, run_id)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _not_made(template, error) from error


async def create_empty(connection: Connection, name: str, kind: str, run_id: str) -> None:
    """Make a database without anything in it, which carries our mark from its first moment."""
    await connection.execute(f"create database {quoted(name)} template template0 connection limit {BIRTH_MARK}")
    await connection.execute(f"comment on database {quoted(name)} is {quoted_text(mark_of(kind, run_id))}")


def _not_made(template: str, error: Exception) -> ServerError:
    return ServerError(
        f"A database could not be made from {template}: {error}.\n"
        "Look at the server's disk space and connection limit; `savepoint clean` drops what dead runs left."
    )


async def _create(connection: Connection, template: str, carried: Sequence[str], name: str, run_id: str) -> None:
    # Copying files takes as long for several clones at once as for one; copying through the log does not.
    strategy = "strategy file_copy" if _version(connection) >= _HAS_STRATEGIES else ""
    await connection.execute(
        f"create database {quoted(name)} template {quoted(template)} {strategy} connection limit {BIRTH_MARK}"
    )
    statements = [f"comment on database {{database}} is {quoted_text(mark_of('clone', run_id))}", *carried]
    await connection.execute(";\n".join(text.replace("{database}", quoted(name)) for text in statements))


def _version(connection: Connection) -> int:
    major: int = connection.get_server_version().major
    return major * 10_000
