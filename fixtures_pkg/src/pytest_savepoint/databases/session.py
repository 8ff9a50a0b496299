"""Our own connections: on the maintenance database, and free of limits that a role may carry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from pytest_savepoint.address import MAINTENANCE_DATABASE, Address

# In quotes because asyncpg's classes are generic for type checkers only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

__all__ = ["Connection", "OwnConnection", "connect", "session"]

# Said afterwards and not at start-up, where a pooler refuses settings that it does not know.
_NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_session_timeout = 0"


class OwnConnection(asyncpg.Connection):  # type: ignore[misc] # of no known type for type checkers
    """A connection of ours, on a loop of ours: who watches the suite's connections passes over it."""

    belongs_to_no_loop = True


async def connect(address: Address, database: str = MAINTENANCE_DATABASE) -> Connection:
    """A connection that no timeout of the role ends."""
    connection = await asyncpg.connect(
        **address.connect_arguments(database),
        connection_class=OwnConnection,
        server_settings={"application_name": "savepoint"},
    )
    try:
        await connection.execute(_NO_LIMITS)
    except BaseException:
        connection.terminate()
        raise
    return connection


@asynccontextmanager
async def session(address: Address, database: str = MAINTENANCE_DATABASE) -> AsyncIterator[Connection]:
    """A connection for the length of a block."""
    connection = await connect(address, database)
    try:
        yield connection
    finally:
        await connection.close()
