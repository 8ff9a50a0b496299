import os

from sqlalchemy import String, select, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

engine = create_async_engine(os.environ["DATABASE_URL"])
cold = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
narrow = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0)
new_session = async_sessionmaker(engine, expire_on_commit=False)
cold_session = async_sessionmaker(cold)
narrow_session = async_sessionmaker(narrow, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Page(Base):
    __tablename__ = "page"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(40), unique=True)


async def read(session):
    return await session.scalar(text("select count(*) from page, pg_sleep(0.05)"))


async def read_alone():
    async with new_session() as session:
        return await read(session)


async def page_titled(session, number):
    return (await session.scalars(select(Page).where(Page.id == number))).one()  # SP306
