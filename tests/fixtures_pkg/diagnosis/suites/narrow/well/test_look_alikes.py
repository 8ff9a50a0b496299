"""Everything here looks like one of the failures, and is right; two tests fail for reasons of their own."""

import asyncio
import os

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from warehouse import count


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_global_engine_that_keeps_nothing(limit):
    assert await count(limit) == limit


def test_global_engine_under_its_own_run():
    assert asyncio.run(count(9)) == 9


@pytest_asyncio.fixture
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    yield engine
    await engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [1, 2])
async def test_engine_as_narrow_as_its_loop(engine, answer):
    async with engine.connect() as connection:
        assert await connection.scalar(text(f"select {answer}")) == answer


@pytest_asyncio.fixture
async def pool():
    async with asyncpg.create_pool(os.environ["DATABASE_URL"].replace("+asyncpg", ""), min_size=1) as pool:
        yield pool


@pytest.mark.asyncio
async def test_many_tasks_on_a_pool(pool):
    assert await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(4))) == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_wrong_sum(pool):
    assert await pool.fetchval("select 2 + 2") == 5


@pytest.mark.asyncio
async def test_own_time_out():
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)


@pytest.mark.asyncio
async def test_plain_time_out_of_a_slow_answer(pool):
    await asyncio.wait_for(pool.fetchval("select pg_sleep(2)"), 0.05)
