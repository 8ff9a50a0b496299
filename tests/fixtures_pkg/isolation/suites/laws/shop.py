"""An application's database module: its engine is made at import, with a URL that leads nowhere."""

import os

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(f"postgresql+{os.environ.get('LAWS_DRIVER', 'asyncpg')}://nobody@nowhere.invalid/nothing")
Session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Crate(Base):
    __tablename__ = "crate"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(unique=True)
    contents: Mapped[dict | None] = mapped_column(JSONB)


async def store(label: str, *, commit: bool = True) -> None:
    async with Session() as session:
        session.add(Crate(label=label))
        await session.flush()
        if commit:
            await session.commit()


async def count(session=None) -> int:
    if session is not None:
        return (await session.execute(select(func.count()).select_from(Crate))).scalar_one()
    async with Session() as own:
        return await count(own)
