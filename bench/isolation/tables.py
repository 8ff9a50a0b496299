"""The one table of the measured test, and the test's body."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


async def three_rows(session: AsyncSession) -> None:
    """Add three rows, commit, read them."""
    session.add_all([Row(name="a"), Row(name="b"), Row(name="c")])
    await session.commit()
    found = (await session.execute(select(Row.name).order_by(Row.id))).scalars().all()
    assert found == ["a", "b", "c"]
