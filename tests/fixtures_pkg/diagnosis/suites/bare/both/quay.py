"""The fixtures of both sides."""

import pytest
from ferry import Clerk, Gate, Log, open_pool


@pytest.fixture(scope="session")
async def pool():
    pool = await open_pool()
    yield pool
    pool.terminate()


@pytest.fixture
async def connection(pool):
    async with pool.acquire() as connection:  # SP507
        yield connection


@pytest.fixture
async def gate():
    gate = Gate()
    yield gate
    await gate.opening


@pytest.fixture
async def clerk(pool):
    clerk = Clerk(pool)
    yield clerk
    await clerk.writing


@pytest.fixture(scope="session")
async def log():
    log = Log()
    worker = log.start()
    yield log
    worker.cancel()
