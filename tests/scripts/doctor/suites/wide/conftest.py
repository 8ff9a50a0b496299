import asyncio

import pytest
import pytest_asyncio
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import IntegrityError

from app.db import Base, Session, Visit, engine, tag


@pytest.fixture(scope="session", autouse=True)
def tags():
    asyncio.run(tag("red"))  # SP103


@pytest_asyncio.fixture(scope="session")
async def migrated():
    command.upgrade(Config("alembic.ini"), "head")  # SP110


@pytest_asyncio.fixture(scope="session")  # SP302
async def session():
    async with Session() as session:
        yield session


@pytest_asyncio.fixture
async def first_visit():
    async with Session() as session:  # SP303
        first = Visit()
        session.add(first)
        await session.commit()
    return first


@pytest_asyncio.fixture
async def tables():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)  # SP513
    yield
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
