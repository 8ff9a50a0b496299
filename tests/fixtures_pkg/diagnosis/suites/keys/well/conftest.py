import pytest_asyncio
from club import Base, engine, new_session
from sqlalchemy import text


@pytest_asyncio.fixture(scope="session", autouse=True)
async def schema():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


@pytest_asyncio.fixture
async def session():
    """What a test commits is removed after it."""
    async with new_session() as session:
        yield session
    async with engine.begin() as connection:
        await connection.execute(text("truncate guest, member, badge, locker restart identity"))
