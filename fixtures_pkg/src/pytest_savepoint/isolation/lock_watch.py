"""Ends the waits of connections of a test's own for locks that the savepoint around the test holds.

With real commits such a lock would be free by then; here it is held until the test is over, and the test, when it waits
in the same thread, never is: a TRUNCATE in a fixture's teardown, a script, a sync driver. The server tells who waits.
"""

from __future__ import annotations

import contextlib
import threading

import asyncpg

from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.databases.session import session
from pytest_savepoint.isolation.sandbox import Sandbox

__all__ = ["LockWatch"]

_EVERY = 1.0
_WAITING = """
select a.pid, left(a.query, 200) from pg_stat_activity a
where a.datname = $1 and $2 = any (pg_blocking_pids(a.pid)) and a.query_start < clock_timestamp() - $3 * interval '1 second'
"""


class LockWatch:
    """A thread that looks once a second, and asks the server only while a test is in its second second or later."""

    def __init__(self, address: Address, database: str, sandbox: Sandbox) -> None:
        """:param database: the worker's."""
        self._address = address
        self._database = database
        self._sandbox = sandbox
        self._ended: list[str] = []
        self._asking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="savepoint-locks", daemon=True)
        self._thread.start()

    def take_ended(self) -> list[str]:
        """The statements whose waits were ended since the last call."""
        # The cancelled statement may be back before the answer that names it.
        with self._asking:
            ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        epoch = -1
        while not self._stop.wait(_EVERY):
            backend = self._sandbox.backend
            if backend is not None and epoch == self._sandbox.epoch:
                # Whatever keeps the server from answering is told where the test itself needs it.
                with self._asking, contextlib.suppress(OSError, asyncpg.PostgresError), Background() as background:
                    self._ended += background.call(self._end_waits(backend))
            epoch = self._sandbox.epoch

    async def _end_waits(self, backend: int) -> list[str]:
        async with session(self._address) as connection:
            waiting = await connection.fetch(_WAITING, self._database, backend, _EVERY)
            return [str(query) for pid, query in waiting if await connection.fetchval("select pg_cancel_backend($1)", pid)]
