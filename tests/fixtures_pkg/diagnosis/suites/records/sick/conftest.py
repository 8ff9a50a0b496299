import asyncpg
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from store import URL, Base, Depot, Parcel, engine, new_session, psycopg_engine


@pytest_asyncio.fixture(scope="session", autouse=True)
async def schema():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(text("insert into shelf (free) values (10)"))
        await connection.execute(text("insert into shift (doctor, on_call) values ('ann', true), ('bob', true)"))
    yield
    await psycopg_engine.dispose()
    await engine.dispose()


@pytest_asyncio.fixture
async def session():
    """Undone after the test, commits included."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        await outer.rollback()


@pytest_asyncio.fixture
async def parcel():
    async with new_session() as session:
        parcel = Parcel(label="lamp")
        session.add(parcel)
        await session.commit()
        yield parcel.id
        await session.delete(parcel)
        await session.commit()


@pytest_asyncio.fixture  # SP515
async def depots():
    async with new_session() as session:
        session.add_all([Depot(town="Ulm"), Depot(town="Jena")])
        await session.commit()


@pytest_asyncio.fixture
async def no_depots():
    async with engine.begin() as connection:
        await connection.execute(text("truncate depot"))


@pytest_asyncio.fixture(scope="module")
async def pool():
    async with asyncpg.create_pool(URL.replace("+asyncpg", ""), min_size=2, max_size=2) as pool:
        await pool.execute("create table meter (id int primary key, reading int)")
        await pool.execute("insert into meter values (1, 100)")
        yield pool
        await pool.execute("drop table meter")


