import asyncpg
import pytest_asyncio
from club import URL, Base, Member, engine, new_session
from sqlalchemy import text


@pytest_asyncio.fixture(scope="session", autouse=True)
async def schema():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


@pytest_asyncio.fixture
async def session():
    async with new_session() as session:  # SP507
        yield session


@pytest_asyncio.fixture
async def founder():
    async with new_session() as session:
        founder = Member(
            id=1,  # SP512
            name="Ada",
        )
        session.add(founder)
        await session.commit()
        yield founder
    async with engine.begin() as connection:
        await connection.execute(text("delete from member"))


@pytest_asyncio.fixture
async def raw():
    connection = await asyncpg.connect(URL.replace("+asyncpg", ""))
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()
