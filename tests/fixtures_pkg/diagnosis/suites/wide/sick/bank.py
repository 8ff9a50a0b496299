import asyncio
import os

from sqlalchemy import ForeignKey, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import NullPool

engine = create_async_engine(os.environ["DATABASE_URL"])
cold = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
small = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0, pool_timeout=0.3)
tiny = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0, pool_timeout=0.3)


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    accounts: Mapped[list["Account"]] = relationship()


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customer.id"))
    cents: Mapped[int] = mapped_column(default=0)


async def create_tables():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(text("create table if not exists badge (name text unique)"))
        await connection.execute(text("insert into account (id, cents) values (1, 100), (2, 100), (3, 0)"))


    await asyncio.gather(*(_warm() for _ in range(3)))


async def _warm():
    async with engine.connect() as connection:
        await connection.execute(text("select pg_sleep(0.3)"))


async def total(session):
    return await session.scalar(text("select sum(cents) from account"))


async def overview(session):
    return await asyncio.gather(total(session), total(session))  # SP301


async def borrow(amount):
    connection = await small.connect()  # SP202
    if amount == 0:
        BORROWED.append(connection)
        return 0
    value = await connection.scalar(text(f"select {amount}"))
    await connection.close()
    return value


BORROWED = []


async def journal(line):
    async with tiny.connect() as connection:
        return await connection.scalar(text(f"select '{line}'"))


async def book(line):
    async with tiny.connect() as connection:
        await connection.execute(text("select 1"))
        return await journal(line)  # SP203


async def transfer(source, target):
    async with AsyncSession(engine) as session, session.begin():
        await session.execute(text(f"update account set cents = cents - 1 where id = {source}"))  # SP601
        await asyncio.sleep(0.1)
        await session.execute(text(f"update account set cents = cents + 1 where id = {target}"))


async def deposit(amount):
    async with engine.begin() as connection:
        cents = await connection.scalar(text("select cents from account where id = 3"))
        await asyncio.sleep(0.05)
        await connection.execute(text("update account set cents = :cents where id = 3"), {"cents": cents + amount})  # SP603


async def register(name):
    async with engine.begin() as connection:
        known = await connection.scalar(text("select name from badge where name = :name"), {"name": name})
        await asyncio.sleep(0.05)
        if known is None:  # SP602
            await connection.execute(text("insert into badge values (:name)"), {"name": name})


async def first_customer(session):
    return (await session.scalars(select(Customer).limit(1))).one()


async def audit():
    return 1


async def close_account():
    audit()  # SP403
    return True
