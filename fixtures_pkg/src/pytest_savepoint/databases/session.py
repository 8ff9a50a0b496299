"""Our own connections: on the maintenance database, and free of limits that a role may carry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from pytest_savepoint.address import MAINTENANCE_DATABASE, Address

# In quotes because asyncpg's classes are generic for type checkers only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

__all__ = ["Connection", "connect", "session"]

_NO_LIMITS = {"statement_timeout": "0", "lock_timeout": "0", "idle_session_timeout": "0"}


async def connect(address: Address, database: str = MAINTENANCE_DATABASE) -> Connection:
    """A connection that no timeout of the role ends."""
    return await asyncpg.connect(
        **address.connect_arguments(database),
        server_settings={"application_name": "savepoint", **_NO_LIMITS},
    )


@asynccontextmanager
async def session(address: Address, database: str = MAINTENANCE_DATABASE) -> AsyncIterator[Connection]:
    """A connection for the length of a block."""
    connection = await connect(address, database)
    try:
        yield connection
    finally:
        await connection.close()
