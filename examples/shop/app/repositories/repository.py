from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession


class Repository:
    """Rows of one kind, read and written through one session; a service says when its work is complete."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def commit(self) -> None:
        await self.session.commit()

    async def rollback(self) -> None:
        await self.session.rollback()
