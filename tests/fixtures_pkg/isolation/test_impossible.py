"""What one connection cannot serve is named, with both parties and the way out, and never hangs."""

from __future__ import annotations

import re

IMPORTS = """
import asyncio
import os
import asyncpg
import psycopg
import pytest
from shop import Crate, Session, count, engine, store
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
"""

SUITE = {
    "test_impossible.py": IMPORTS
    + '''
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
'''
}
NAMED = {
    "test_rollback_around_a_commit": r"shop\.py:\d+ in store .* had committed inside it, so that commit is lost",
    "test_unrelated_task_waits_for_an_open_transaction": r"shop\.py:\d+ in store .* waited 1 s for .*test_impossible\.py:\d+",
    "test_outer_writes_while_inner_is_open": r"must end last-in-first-out",
    "test_raw_commit": r"raw transaction control",
    "test_own_isolation_level": r"asks for isolation level SERIALIZABLE",
    "test_listen": r"PostgreSQL delivers notifications at COMMIT",
    "test_sync_engine": r"has a sync driver \(psycopg\)",
    "test_async_creator": r"test_impossible\.py:\d+ in test_async_creator .* has a connection of its own",
    "test_creator": r"has a connection of its own, from a creator=",
    "test_sync_connection_from_before_the_test": r"from a sync driver before the test",
    "test_two_drivers": r"needs the driver psycopg, while .* has begun with asyncpg",
    "test_killed_backend": r"was closed by the server or by the test",
}


def test_each_is_named_with_its_parties_and_the_way_out(run_suite):
    result = run_suite(SUITE, "-o", "asyncio_mode=auto", "--tb=short", SAVEPOINT_SANDBOX_TIMEOUT="1", COLUMNS="400")
    assert f"{len(NAMED)} failed, 1 passed" in result.stdout, result.stdout
    for test, words in NAMED.items():
        section = re.split(rf"_+ {test} _+\n", result.stdout)[1].split("\n____", 1)[0]
        assert re.search(r"^E +.*" + words, section, re.MULTILINE), (test, section)
        assert "isolation=" in section, (test, section)


ESCAPE = {
    "test_escape.py": IMPORTS
    + '''
async def test_escapes():
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.execute("INSERT INTO crate (label) VALUES ('escaped'); COMMIT")

async def test_neighbour_begins_with_an_empty_table():
    assert await count() == 0
'''
}


def test_test_that_ends_the_outer_transaction_is_named_and_its_database_made_anew(run_suite):
    result = run_suite(ESCAPE, "-o", "asyncio_mode=auto", "-p", "no:randomly")
    assert "ERROR test_escape.py::test_escapes - " in result.stdout, result.stdout
    assert "test_escape.py::test_escapes ended the transaction that isolates it" in result.stdout
    assert "1 failed, 1 passed" in result.stdout, result.stdout
