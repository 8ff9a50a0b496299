import asyncio
import os
import asyncpg
import psycopg
import pytest
from shop import Crate, Session, count, engine, store
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

async def test_rollback_around_a_commit():
    async with Session() as outer:
        outer.add(Crate(label="outer"))
        await outer.flush()
        await store("inner")
        await outer.rollback()
    await count()

async def test_unrelated_task_waits_for_an_open_transaction():
    go = asyncio.Event()
    async def worker():
        await go.wait()
        await store("from the worker")
    task = asyncio.create_task(worker())
    await asyncio.sleep(0)
    async with Session() as session:
        session.add(Crate(label="open"))
        await session.flush()
        go.set()
        await task

async def test_outer_writes_while_inner_is_open():
    async with Session() as outer, Session() as inner:
        outer.add(Crate(label="outer"))
        await outer.flush()
        inner.add(Crate(label="inner"))
        await inner.flush()
        outer.add(Crate(label="too late"))
        await outer.flush()

async def test_raw_commit():
    async with engine.connect() as connection:
        await connection.execute(text("COMMIT"))

async def test_own_isolation_level():
    async with engine.execution_options(isolation_level="SERIALIZABLE").connect() as connection:
        await connection.execute(text("SELECT 1"))

async def test_listen():
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener("news", print)

async def test_listen_as_text():
    async with engine.connect() as connection:
        await connection.execute(text("LISTEN news"))

async def test_vacuum():
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM crate"))

async def test_sync_engine():
    create_engine("postgresql+psycopg://nowhere.invalid/x").connect()

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

async def test_async_creator():
    own = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(URL))
    async with own.begin() as connection:
        await connection.execute(text("INSERT INTO crate (label) VALUES ('real')"))

def test_creator():
    create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(URL)).connect()

@pytest.fixture(scope="module")
def sync_engine():
    sync_engine = create_engine("postgresql+psycopg://")
    sync_engine.connect().close()
    return sync_engine

def test_sync_connection_from_before_the_test(sync_engine):
    sync_engine.connect()

async def test_two_drivers():
    await store("asyncpg")
    async with create_async_engine("postgresql+psycopg://nowhere.invalid/x").connect() as connection:
        await connection.execute(text("SELECT 1"))

async def test_killed_backend():
    await store("apples")
    async with engine.connect() as connection:
        try:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        except Exception:
            pass
    await count()

async def test_neighbour_is_not_disturbed():
    assert await count() == 0
    await store("apples")
