import pytest_asyncio
from ledger import Base, cold_session, engine, narrow, new_session


@pytest_asyncio.fixture(scope="session", autouse=True)
async def schema():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await narrow.dispose()
    await engine.dispose()


@pytest_asyncio.fixture
async def session():
    async with cold_session() as session:
        yield session


@pytest_asyncio.fixture(scope="module")
async def readers():
    async with new_session() as session:
        yield session
        await session.rollback()


@pytest_asyncio.fixture(scope="module")  # SP302
async def writers():
    async with new_session() as session:
        yield session
        await session.rollback()
