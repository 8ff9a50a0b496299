import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

database = create_async_engine(os.environ["DATABASE_URL"])  # SP101


async def count(limit):
    async with database.connect() as connection:
        return await connection.scalar(text(f"select count(*) from generate_series(1, {limit})"))
