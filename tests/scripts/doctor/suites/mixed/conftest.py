import os

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from tracing import Trace


@pytest_asyncio.fixture(scope="session")  # SP102
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def session(engine):
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        await transaction.rollback()


@pytest_asyncio.fixture
async def swept(engine):
    async with engine.begin() as connection:
        ending = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"  # SP206
        await connection.execute(text(ending))


@pytest_asyncio.fixture
async def trace():
    trace = Trace()
    trace.begin()  # SP704
    return trace
