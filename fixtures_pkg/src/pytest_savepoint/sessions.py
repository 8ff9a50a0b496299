"""Several independent sessions on one committed database, for tests of what happens when transactions meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

__all__ = ["Sessions", "Turns"]

_LOOK_EVERY = 0.01
_WAITING = text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")


class Sessions:
    """Makes sessions with a connection each on the database that belongs to the running test alone."""

    def __init__(self, engine: AsyncEngine, *, timeout: float) -> None:
        """
        :param engine: leads to the test's own database, and pools nothing.
        :param timeout: seconds that a turn or a transaction may take.
        """
        self._engine = engine
        self._timeout = timeout

    def __call__(self, isolation_level: str | None = None) -> AsyncSession:
        """A new session.

        :param isolation_level: such as SERIALIZABLE; None takes the server's default.
        """
        engine = self._engine.execution_options(isolation_level=isolation_level) if isolation_level else self._engine
        return AsyncSession(engine, expire_on_commit=False)

    async def run(
        self, *transactions: Callable[[AsyncSession], Awaitable[Any]], isolation_level: str | None = None
    ) -> list[Any]:
        """Run transactions at the same time, each in a session and a task of its own, and commit each at its end.

        :return: for each what it returned, or the exception that ended it.
        :raises TimeoutError: when one has not ended in time; the others are cancelled.
        """

        async def transact(transaction: Callable[[AsyncSession], Awaitable[Any]]) -> Any:
            async with self(isolation_level) as session:
                result = await transaction(session)
                await session.commit()
                return result

        together = asyncio.gather(*map(transact, transactions), return_exceptions=True)
        try:
            return await asyncio.wait_for(together, self._timeout)
        except asyncio.TimeoutError as error:
            raise TimeoutError(
                f"Not all of {len(transactions)} transactions ended within {self._timeout:g} s: they wait for each other "
                "outside of the database, or for a lock that this test holds.\nEnd what holds the lock before run(), or "
                "raise sandbox-timeout."
            ) from error

    def turns(self, *names: str) -> Turns:
        """An order in which blocks of concurrent transactions run.

        :param names: one for each block, in their order.
        """
        return Turns(names, self._engine, timeout=self._timeout)


class Turns:
    """Lets each named block begin when the one before it has ended, or waits for a lock of the database.

    So an interleaving is the same in every run, and a block may wait for the lock that a later one releases.
    """

    def __init__(self, names: tuple[str, ...], engine: AsyncEngine, *, timeout: float) -> None:
        self._names = names
        self._engine = engine
        self._timeout = timeout
        self._begun: list[str] = []
        self._ended: set[str] = set()

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncIterator[None]:
        """Wait for this block's turn.

        :raises TimeoutError: when it does not come, naming what it waits for.
        """
        place = self._names.index(name)
        deadline = asyncio.get_running_loop().time() + self._timeout
        while not await self._may_begin(place):
            if asyncio.get_running_loop().time() > deadline:
                missing = [each for each in self._names[:place] if each not in self._ended]
                raise TimeoutError(f"The turn {name!r} did not come within {self._timeout:g} s; before it: {missing}.")
            await asyncio.sleep(_LOOK_EVERY)
        self._begun.append(name)
        try:
            yield
        finally:
            self._ended.add(name)

    async def _may_begin(self, place: int) -> bool:
        before = self._names[:place]
        if not set(before) <= set(self._begun):
            return False
        unfinished = [each for each in before if each not in self._ended]
        return not unfinished or await self._waiting_for_locks() >= len(unfinished)

    async def _waiting_for_locks(self) -> int:
        async with self._engine.connect() as connection:
            return int((await connection.execute(_WAITING)).scalar_one())
