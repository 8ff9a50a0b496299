import asyncio
import os

import psycopg
from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=2, max_overflow=0)
Session = async_sessionmaker(engine)


class Base(DeclarativeBase):
    pass


class Visit(Base):
    __tablename__ = "visit"
    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(server_default=func.current_date())


async def log(line):
    async with engine.begin() as connection:
        await connection.execute(text("insert into log values (:l)"), {"l": line})


async def visit(page):
    async with engine.begin() as connection:
        await connection.execute(text("insert into visit default values"))
        await log(page)  # SP203


async def pages():
    async with engine.connect() as connection:
        rows = await connection.execute(text("select page from visit where day = current_date"))  # SP506
        return [row.page for row in rows.all()]


async def export(empty):
    connection = await engine.connect()  # SP202
    if empty:
        return None
    await connection.execute(text("update visit set page = '/'"))
    await connection.close()


def start_visit():
    seen = asyncio.Event()
    return seen, asyncio.create_task(_visit_and_tell(seen))


async def _visit_and_tell(seen):
    async with engine.connect() as connection:
        await connection.execute(text("select 1"))
    seen.set()


async def tag(name):
    async with engine.begin() as connection:
        row = await connection.scalar(text("select id from tag where name = :n"), {"n": name})
        if not row:  # SP602
            await connection.execute(text("insert into tag (name) values (:n)"), {"n": name})


def count_in_thread_of_the_loop():
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("update counter set n = n + 1")  # SP402


async def count():
    async with engine.begin() as connection:
        await connection.execute(text("update counter set n = n + 1"))
        count_in_thread_of_the_loop()
