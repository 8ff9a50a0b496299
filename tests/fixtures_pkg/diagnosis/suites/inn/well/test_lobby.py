import asyncio
import contextlib
import os

import asyncpg
from inn import arrivals, arrive, porters


async def test_arrival():
    arrive(3)
    await asyncio.gather(*porters)
    assert arrivals == [3]


async def test_two_arrivals_fails():
    arrive(4)
    await asyncio.gather(*porters)
    assert arrivals == [4]


async def test_sign_fails(sign, named):
    assert sign.name != "The Bear"


async def pump():
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.02)


async def test_pump_goes_on_fails():
    running = asyncio.create_task(pump())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.sleep(0.05)
    assert not running.done()


async def test_closing_time_fails():
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"].replace("+asyncpg", ""), min_size=1, max_size=2)
    async with pool.acquire() as connection:
        closing = asyncio.create_task(pool.close())
        assert await connection.fetchval("select 12") == 12
    await closing
    assert pool.get_size() == 1
