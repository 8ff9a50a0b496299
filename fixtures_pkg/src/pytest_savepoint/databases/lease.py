"""What tells other runs that this one lives."""

from __future__ import annotations

from pytest_savepoint.address import Address
from pytest_savepoint.databases.names import RUN_LOCKS, lock_key
from pytest_savepoint.databases.session import Connection, connect

__all__ = ["Lease"]


class Lease:
    """A connection that holds the run's advisory lock; the server drops it when this process dies."""

    def __init__(self, run_id: str, connection: Connection) -> None:
        self.run_id = run_id
        self.connection = connection

    @classmethod
    async def take(cls, address: Address, run_id: str) -> Lease:
        connection = await connect(address)
        await connection.execute("select pg_advisory_lock($1, $2)", RUN_LOCKS, lock_key(run_id))
        return cls(run_id, connection)

    async def give_back(self) -> None:
        self.connection.terminate()
