"""`savepoint flaky` on suites that pass in file order."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

pytestmark = pytest.mark.e2e

ROWS = """
import os
import pytest, pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

@pytest_asyncio.fixture
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.begin() as connection:
        await connection.execute(text("create table if not exists member (name text)"))
        await connection.execute(text("create table if not exists opened (year int)"))
    yield engine
    await engine.dispose()

@pytest_asyncio.fixture
async def session(engine):
    async with AsyncSession(engine) as session:
        yield session

@pytest.mark.asyncio
async def test_nobody_yet(session):
    assert await session.scalar(text("select count(*) from member where name <> ''")) == 0
    await session.execute(text("insert into opened values (1999)"))
    await session.commit()

@pytest.mark.asyncio
async def test_join(session):
    await session.execute(text("insert into member values ('ann')"))
    await session.commit()
    assert await session.scalar(text("select count(*) from opened")) == 1
"""


def verdicts(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["nodeid"].rpartition("::")[2]: each for each in report["verdicts"]}


def test_rows_that_stay_are_the_databases_state_and_the_callers_database_stays_as_it_was(observer, database):
    observer.environ["DATABASE_URL"] = database
    observer.write(test_it=ROWS)
    done = observer.call("flaky", "--budget", "4m", "--", "-p", "no:randomly")  # it ends when it knows both tests
    found = verdicts(observer.report)["test_nobody_yet"]
    assert (found["verdict"], found["polluter"]) == ("database-state", "test_it.py::test_join"), done.stdout
    assert found["reproduced"]
    assert (done.returncode, observer.report["result"]) == (4, "gate")
    causes = {each["cause"] for each in observer.report["findings"]}
    assert causes == {"state.rows_leaked", "state.depends_on_earlier_test"}  # the second is of test_join
    assert asyncio.run(_tables(database)) == 0


async def _tables(url: str) -> int:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    tables: int = await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'")
    await connection.close()
    return tables
