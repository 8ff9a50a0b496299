import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

database = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
guard = asyncio.Lock()


async def count(limit):
    async with guard, database.connect() as connection:
        return await connection.scalar(text(f"select count(*) from generate_series(1, {limit})"))
