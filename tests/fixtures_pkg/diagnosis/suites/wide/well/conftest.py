import asyncio
import contextvars
import os

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

app = FastAPI()
language = contextvars.ContextVar("language", default="en")


async def visitor():
    return "nobody"


@pytest_asyncio.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=2)
    async with engine.begin() as connection:
        await connection.execute(text("create table note (words text unique, written timestamptz default now())"))
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def new_list(engine):
    async with engine.begin() as connection:
        await connection.execute(text("drop table if exists list"))
        await connection.execute(text("create table list (item text)"))


@pytest_asyncio.fixture
async def session(engine):
    async with engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        await outer.rollback()


@pytest.fixture
def in_french():
    token = language.set("fr")
    yield
    language.reset(token)


@pytest.fixture
def known_visitor(monkeypatch):
    monkeypatch.setitem(app.dependency_overrides, visitor, lambda: "Eve")


@pytest_asyncio.fixture
async def browser():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        yield client


@pytest_asyncio.fixture
async def heart():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))
    beats = []

    async def beat():
        while True:
            beats.append(await connection.fetchval("select 1"))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(beat())
    yield beats
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connection.close()
