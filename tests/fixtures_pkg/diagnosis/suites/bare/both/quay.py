"""The fixtures of both sides."""

import pytest
from ferry import Log, open_pool


@pytest.fixture(scope="session")
async def pool():
    pool = await open_pool()
    yield pool
    pool.terminate()


@pytest.fixture
async def connection(pool):
    async with pool.acquire() as connection:
        yield connection


@pytest.fixture(scope="session")
async def log():
    log = Log()
    worker = log.start()
    yield log
    worker.cancel()
