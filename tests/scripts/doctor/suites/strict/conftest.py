import asyncio
import os

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


class Shared:
    pool = None


@pytest.fixture(scope="module")
def event_loop():  # SP104
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture  # SP501
async def number():
    return 1


@pytest_asyncio.fixture
async def connection():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def pool():
    Shared.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"])
    yield Shared.pool
    await Shared.pool.close()


@pytest_asyncio.fixture
async def outbox():  # SP503
    yield []
    await Shared.pool.execute("delete from outbox")


@pytest_asyncio.fixture
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def session(engine):
    async with engine.connect() as connection:
        transaction = await connection.begin()
        session = AsyncSession(bind=connection)  # SP504
        yield session
        await session.close()
        await transaction.rollback()
