import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

cellar = create_async_engine(os.environ["DATABASE_URL"])


async def stock():
    async with cellar.begin() as connection:
        await connection.execute(text("create table bottle (year int)"))


def setup_module():
    asyncio.run(stock())  # SP103


async def test_no_bottles():
    async with cellar.connect() as connection:
        assert await connection.scalar(text("select count(*) from bottle")) == 0
