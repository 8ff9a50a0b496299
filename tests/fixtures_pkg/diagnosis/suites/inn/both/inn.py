"""An inn with its rooms, its rates and its guests; how a test comes to them differs from side to side."""

import asyncio
import contextlib
import os
from contextvars import ContextVar

import asyncpg
from fastapi import Depends, FastAPI
from sqlalchemy import DateTime, func, text, update
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"])
sessions = async_sessionmaker(engine)
host = ContextVar("host", default="nobody")
rates = {}
pools = []
arrivals = []
porters = set()


class Base(DeclarativeBase):
    pass


class Room(Base):
    __tablename__ = "room"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    guests: Mapped[int] = mapped_column(default=0)
    changed = mapped_column(DateTime(timezone=True), server_default=func.now(), onupdate=func.now())  # SP606


async def build():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        session.add_all([Room(id=1, name="attic"), Room(id=2, name="cellar")])


async def paint(name):
    async with sessions.begin() as session:
        await session.execute(update(Room).where(Room.name == name).values(guests=Room.guests + 0))


@contextlib.contextmanager
def hosted_by(name):
    token = host.set(name)
    try:
        yield
    finally:
        host.reset(token)


@contextlib.asynccontextmanager
async def opened(app):
    rates["double"] = 90
    yield
    rates.clear()


app = FastAPI(lifespan=opened)


@app.get("/rates/{kind}")
async def rate(kind: str):
    return rates[kind]


async def get_session():
    async with sessions() as session:
        yield session


@app.get("/double/{number}")
async def double(number: int, session=Depends(get_session)):
    return await session.scalar(text("select 2 * cast(:n as int)"), {"n": number})


@app.get("/beds")
async def beds():
    if not pools:
        pools.append(await asyncpg.create_pool(os.environ["DATABASE_URL"].replace("+asyncpg", ""), min_size=1))
    return await pools[0].fetchval("select 7")


async def carry(number):
    await asyncio.sleep(0.05)
    arrivals.append(number)


def arrive(number):
    porters.add(asyncio.create_task(carry(number)))  # SP404


class Sign:
    def __init__(self):
        self.name = os.environ.get("INN_NAME", "The Swan")


class Door(asyncio.Event):
    """Opens when as many as were told have come."""

    def __init__(self, missing):
        super().__init__()
        self._missing = missing

    async def come(self):
        self._missing -= 1
        if not self._missing:
            self.set()
        await self.wait()
