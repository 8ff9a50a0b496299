"""Whether a given URL leads through a pooler such as pgbouncer, and whether that one can serve us."""

from __future__ import annotations

from typing import Any

import asyncpg

from pytest_savepoint.address import MAINTENANCE_DATABASE, Address
from pytest_savepoint.errors import GuardError

__all__ = ["refuse_useless_pooler"]

_NOBODYS = "savepoint"
_UNKNOWN = ("no such database", "bouncer config error")  # of pgbouncer; PostgreSQL says that it does not exist


async def refuse_useless_pooler(address: Address) -> None:
    """Refuse a pooler that gives each transaction another session of the server, or knows some databases only.

    :raises GuardError: with what is lost there, and what to set.
    """
    # Nothing is prepared by name: such a pooler would run the statement where it was not prepared.
    arguments = {**address.connect_arguments(MAINTENANCE_DATABASE), "statement_cache_size": 0}
    connection = await asyncpg.connect(**arguments)
    try:
        # A pooler answers with a process of the server, and greets with a number of its own.
        if await _backend(connection) == connection.get_server_pid():
            return
        if await _moves(connection, arguments):
            raise GuardError(
                f"server-url leads to a pooler (such as pgbouncer) at {address.shown()} that gives each transaction another "
                "session of the server. What we need of a session is lost there: the lock that says that a run lives, "
                "LISTEN, prepared statements.\nName PostgreSQL itself in server-url, or set pool_mode = session there. The "
                "URL of your application may keep the pooler: in tests its engines are led to the server of server-url."
            )
    finally:
        connection.terminate()
    await _refuse_list_of_names(address)


async def _refuse_list_of_names(address: Address) -> None:
    try:
        connection = await asyncpg.connect(**address.connect_arguments(_NOBODYS))
    except asyncpg.PostgresError as error:
        if any(words in str(error) for words in _UNKNOWN):
            raise GuardError(
                f"server-url leads to a pooler (such as pgbouncer) at {address.shown()} that knows the databases of its "
                f"configuration only ({error}), and we make ours for each run.\nAdd a line '* = host=...' to its "
                "[databases], or name PostgreSQL itself in server-url."
            ) from error
    else:
        connection.terminate()


async def _moves(connection: Any, arguments: dict[str, Any]) -> bool:
    """Whether its next transaction is in another session, when somebody else has taken the one before."""
    before = await _backend(connection)
    other = await asyncpg.connect(**arguments)
    try:
        await other.execute("begin")
        return await _backend(connection) != before
    finally:
        other.terminate()


async def _backend(connection: Any) -> int:
    async with connection.transaction():
        number: int = await connection.fetchval("select pg_backend_pid()")
    return number
