"""The fixtures of both sides."""

import pytest
from theatre import Base, Night, Play, engine, sessions


@pytest.fixture(scope="session", autouse=True)
async def plays():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        session.add(Play(title="Hamlet", nights=[Night(id=1, seats=9)]))
    yield
    await engine.dispose()


@pytest.fixture
async def session():
    async with sessions() as session:
        yield session


@pytest.fixture
async def connection():
    async with engine.connect() as connection:
        yield connection
