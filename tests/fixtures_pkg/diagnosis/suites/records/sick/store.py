import asyncio
import os
import random

from sqlalchemy import String, select, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

URL = os.environ["DATABASE_URL"]
engine = create_async_engine(URL)
psycopg_engine = create_async_engine(URL.replace("+asyncpg", "+psycopg"))
new_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(20), default="new")


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    free: Mapped[int] = mapped_column(default=10)


class Voucher(Base):
    __tablename__ = "voucher"
    code: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Depot(Base):
    __tablename__ = "depot"
    id: Mapped[int] = mapped_column(primary_key=True)
    town: Mapped[str] = mapped_column(String(40), unique=True)


class Shift(Base):
    __tablename__ = "shift"
    id: Mapped[int] = mapped_column(primary_key=True)
    doctor: Mapped[str] = mapped_column(String(20))
    on_call: Mapped[bool] = mapped_column(default=True)


class Meeting:
    """Goes on when both have come, so that the race is run every time."""

    def __init__(self) -> None:
        self._missing = 2
        self._complete = asyncio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


async def take_from_shelf(count: int, meeting: Meeting) -> None:
    async with psycopg_engine.begin() as connection:
        free = await connection.scalar(select(Shelf.free).where(Shelf.id == 1))
        await meeting.wait()
        await connection.execute(text("update shelf set free = :free where id = 1"), {"free": free - count})  # SP603


async def leave_shift(doctor: str, meeting: Meeting) -> None:
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            on_call = set(await connection.scalars(text("select doctor from shift where on_call")))
            await meeting.wait()
            if on_call - {doctor}:
                await connection.execute(text("update shift set on_call = false where doctor = any(:all)"), {"all": list(on_call)})  # SP604


def voucher_code() -> int:
    return random.randint(1, 3)  # SP608


async def quote(amount: int) -> int:
    await asyncio.sleep(0.02 + random.random() * 0.06)
    return amount * 2


async def quote_in_time(amount: int) -> int:
    return await asyncio.wait_for(quote(amount), timeout=0.03)  # SP609
