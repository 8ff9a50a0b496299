import asyncio
import os

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

storage = create_async_engine(os.environ["DATABASE_URL"])


async def prepare():
    async with storage.begin() as connection:
        await connection.execute(text("create table if not exists shelf (name text)"))


@pytest.fixture(scope="module")
def tables():
    asyncio.run(prepare())  # SP103


@pytest.mark.asyncio
async def test_shelf_is_empty(tables):
    async with storage.connect() as connection:
        assert await connection.scalar(text("select count(*) from shelf")) == 0
