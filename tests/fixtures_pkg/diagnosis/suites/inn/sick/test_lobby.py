import asyncio
import contextlib
import os

import asyncpg
import pytest
from inn import arrivals, arrive


class Pump:
    stopped = False

    async def run(self):
        while not self.stopped:
            with contextlib.suppress(asyncio.CancelledError):  # SP405
                await asyncio.sleep(0.02)


@pytest.fixture
async def pump():
    pump = Pump()
    yield pump
    pump.stopped = True


@pytest.fixture
async def pool():
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"].replace("+asyncpg", ""), min_size=1, max_size=2)
    yield pool
    try:
        await asyncio.wait_for(pool.close(), 0.3)
    finally:
        pool.terminate()


async def test_crowd(crowd):
    answers = await asyncio.gather(*(crowd.get(f"/double/{number}") for number in range(3)))
    assert [each.json() for each in answers] == [0, 2, 4]


async def test_sign(sign, named):
    assert sign.name == "The Bear"


async def test_arrival():
    arrive(3)
    assert arrivals == []


async def test_nobody_arrives():
    await asyncio.sleep(0.2)
    assert len(arrivals) == 0


async def test_pump_stops(pump):
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.sleep(0.05)
    assert running.done()


async def hour(pool):
    connection = await pool.acquire()  # SP202
    return await connection.fetchval("select 12")


async def test_closing_time(pool):
    assert await hour(pool) == 12
