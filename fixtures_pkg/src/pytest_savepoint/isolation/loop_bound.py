"""A real asyncpg connection for use outside of tests, which ends with the loop that it was opened on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg

__all__ = ["LoopBoundConnection"]


class LoopBoundConnection:
    """A connection of one loop, closed by that loop's own shutdown if nobody closed it before."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._guard: AsyncGenerator[None, None] | None = None

    @classmethod
    async def open(cls, arguments: dict[str, Any]) -> LoopBoundConnection:
        real = cls(await asyncpg.connect(**arguments))
        # The first step registers the generator with the loop, whose shutdown_asyncgens() then runs its `finally`.
        real._guard = real._until_loop_ends()
        await real._guard.__anext__()
        return real

    async def _until_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                await self.connection.close(timeout=2)

    @property
    def is_usable(self) -> bool:
        return self._loop is asyncio.get_running_loop() and not self.connection.is_closed()

    async def close(self) -> None:
        if self._guard is not None and self.is_usable:
            await self._guard.aclose()
        else:
            self.terminate()

    def terminate(self) -> None:
        if not self._loop.is_closed() and not self.connection.is_closed():
            self.connection.terminate()
