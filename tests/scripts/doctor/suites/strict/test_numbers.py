import asyncio

import pytest
from sqlalchemy import text

pytestmark = pytest.mark.asyncio


async def test_number(number):
    assert number == 1


async def test_both_at_once(connection):
    await asyncio.gather(connection.fetchval("select 1"), connection.fetchval("select 2"))  # SP201


async def test_rolls_back(session):
    await session.execute(text("insert into n values (1)"))
    await session.rollback()


async def test_sessions_at_once(session):
    jobs = [session.scalar(text("select 1")) for _ in range(3)]
    await asyncio.gather(*jobs)  # SP301
