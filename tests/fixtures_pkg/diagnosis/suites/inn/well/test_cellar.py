import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

cellar = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)


async def stock():
    async with cellar.begin() as connection:
        await connection.execute(text("create table bottle (year int)"))


def setup_module():
    asyncio.run(stock())


async def test_no_bottles_fails():
    async with cellar.connect() as connection:
        assert await connection.scalar(text("select count(*) from bottle")) == 1
