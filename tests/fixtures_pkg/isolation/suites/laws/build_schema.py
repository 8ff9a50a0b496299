"""The command that builds this suite's template."""

import asyncio
import os
from pathlib import Path

import asyncpg


async def build() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "").replace("+psycopg", ""))
    await connection.execute(Path(__file__).with_name("schema.sql").read_text())
    await connection.close()


asyncio.run(build())
