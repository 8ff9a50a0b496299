import os

import asyncpg
import httpx
import pytest
import pytest_asyncio
from bank import Customer, cold, create_tables, engine
from sqlalchemy.ext.asyncio import AsyncSession
from web import app, language, visitor

DSN = os.environ["DATABASE_URL"].replace("+asyncpg", "")


@pytest_asyncio.fixture(scope="session", autouse=True)
async def tables():
    await create_tables()
    yield
    await engine.dispose()


@pytest_asyncio.fixture
async def session():
    async with AsyncSession(cold) as session:
        yield session


@pytest_asyncio.fixture(scope="module")  # SP302
async def long_session():
    async with AsyncSession(engine) as session:
        yield session
        await session.rollback()


@pytest_asyncio.fixture(scope="session")
async def founder(tables):
    async with AsyncSession(engine) as one:  # SP303
        customer = Customer(name="founder")
        one.add(customer)
        await one.commit()
        return customer


@pytest_asyncio.fixture
async def raw():
    connection = await asyncpg.connect(DSN)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="module")  # SP302
async def labels():
    connection = await asyncpg.connect(DSN)
    await connection.execute("create table label (name text primary key)")
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest_asyncio.fixture
async def browser():
    transport = httpx.ASGITransport(app=app)  # SP701
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


@pytest.fixture
def in_french():
    language.set("fr")  # SP703


@pytest.fixture
def known_visitor():
    app.dependency_overrides[visitor] = lambda: "Eve"  # SP702
