import asyncio

import asyncpg
import httpx
import pytest_asyncio
from sqlalchemy import text
from store import URL, Base, Parcel, Press, app, engine, new_session, psycopg_engine


@pytest_asyncio.fixture(scope="session", autouse=True)
async def schema():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await psycopg_engine.dispose()
    await engine.dispose()


@pytest_asyncio.fixture
async def parcel():
    async with new_session() as session:
        parcel = Parcel(label="lamp")
        session.add(parcel)
        await session.commit()
        yield parcel.id
        await session.delete(parcel)
        await session.commit()


@pytest_asyncio.fixture
async def many_parcels():
    async with engine.begin() as connection:
        await connection.execute(text("insert into parcel (label, status, pieces) select n, 'new', 1 from generate_series(1, 9) n"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("delete from parcel where pieces = 1"))


@pytest_asyncio.fixture
async def few_parcels(many_parcels):
    """Removes on purpose what the fixture that it requests has made."""
    async with engine.begin() as connection:
        await connection.execute(text("delete from parcel where id % 2 = 0"))


@pytest_asyncio.fixture(scope="module")
async def pool():
    async with asyncpg.create_pool(URL.replace("+asyncpg", ""), min_size=1, max_size=2) as pool:
        yield pool


@pytest_asyncio.fixture(scope="module")
async def press():
    press = Press()
    worker = asyncio.create_task(press.work())
    yield press
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


@pytest_asyncio.fixture
async def browser():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        yield client
