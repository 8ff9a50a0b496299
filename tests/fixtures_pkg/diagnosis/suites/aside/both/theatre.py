"""A theatre with its models; what tests need of it lies a call or two away from them."""

import asyncio
import contextlib
import os

import anyio
import asyncpg
from fastapi import FastAPI, Request
from sqlalchemy import ForeignKey, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

engine = create_async_engine(os.environ["DATABASE_URL"])
sessions = async_sessionmaker(engine)


class Base(DeclarativeBase):
    pass


class Play(Base):
    __tablename__ = "play"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    nights: Mapped[list["Night"]] = relationship()


class Night(Base):
    __tablename__ = "night"
    id: Mapped[int] = mapped_column(primary_key=True)
    play_id: Mapped[int] = mapped_column(ForeignKey("play.id"))
    seats: Mapped[int]


def seats_of(play):
    return sum(night.seats for night in play.nights)


def title_of(play):
    return play.title.upper()


@contextlib.asynccontextmanager
async def opened(app):
    app.state.office = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))  # SP201
    yield
    await app.state.office.close()


app = FastAPI(lifespan=opened)


@app.get("/office")
async def office(request: Request):
    return await request.app.state.office.fetchval("select 1 from pg_sleep(0.05)")


class Stage:
    """Has a task of its own while it is open."""

    async def __aenter__(self):
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(anyio.sleep, 10)
        return self

    async def __aexit__(self, *error):
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(*error)


class Meeting:
    """Goes on when all have come."""

    def __init__(self, missing):
        self._missing = missing
        self._complete = asyncio.Event()

    async def wait(self):
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


async def sell(night, meeting, count=1):
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    async with serializable.begin() as connection:
        left = await connection.scalar(text("select seats from night where id = :id"), {"id": night})
        await meeting.wait()
        values = {"id": night, "left": left - count}
        await connection.execute(text("update night set seats = :left where id = :id"), values)  # SP604
