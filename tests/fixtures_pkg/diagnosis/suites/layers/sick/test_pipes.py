import asyncio

import pytest
import pytest_asyncio
from garden.db import URL
from garden.water import Pipes


@pytest.fixture(scope="module")
def laid():
    pipes = Pipes()
    yield pipes
    asyncio.run(pipes.remove())  # SP112


@pytest_asyncio.fixture(scope="module")
async def pipes(laid):
    await laid.lay(URL.replace("+asyncpg", ""))
    return laid


async def test_water(pipes):
    assert await pipes.pool.fetchval("select 'water'") == "water"
