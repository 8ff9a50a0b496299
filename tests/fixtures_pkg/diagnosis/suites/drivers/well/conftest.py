import asyncio
import os

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

URL = os.environ["DATABASE_URL"]
DSN = URL.replace("+asyncpg", "")
psycopg_engine = create_async_engine(URL.replace("+asyncpg", "+psycopg"))
sync_engine = create_engine(DSN.replace("postgresql", "postgresql+psycopg2"))


@pytest.fixture(scope="session", autouse=True)
def tables():
    async def create():
        connection = await asyncpg.connect(DSN)
        await connection.execute("create table box (id serial primary key, n int)")
        await connection.execute("insert into box (n) values (1), (2)")
        await connection.close()

    asyncio.run(create())
    yield
    sync_engine.dispose()


@pytest_asyncio.fixture
async def pool():
    async with asyncpg.create_pool(DSN, min_size=1, max_size=1) as pool:
        yield pool


@pytest.fixture
def kept(pool):
    return pool


async def boxes(request):
    async with asyncpg.create_pool(DSN, min_size=1) as pool:
        return JSONResponse(await pool.fetchval("select count(*) from box"))


@pytest.fixture(scope="session")
def browser():
    with TestClient(Starlette(routes=[Route("/boxes", boxes)])) as browser:
        yield browser


@pytest_asyncio.fixture
async def client():
    async with httpx.AsyncClient() as client:
        yield client


@pytest_asyncio.fixture
async def engines():
    made = [create_async_engine(URL) for _ in range(3)]
    yield made
    for engine in made:
        await engine.dispose()


@pytest.fixture
def session():
    with sync_engine.connect() as connection:
        outer = connection.begin()
        connection.execute(text("insert into box (n) values (3)"))
        yield connection
        outer.rollback()
