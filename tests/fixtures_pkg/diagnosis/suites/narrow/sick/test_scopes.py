import os

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")  # SP102
async def archive():
    archive = create_async_engine(os.environ["DATABASE_URL"])
    async with archive.connect() as connection:
        await connection.execute(text("select 1"))
    yield archive
    await archive.dispose()


@pytest.mark.asyncio
async def test_archive_answers(archive):
    async with archive.connect() as connection:
        assert await connection.scalar(text("select 2")) == 2
