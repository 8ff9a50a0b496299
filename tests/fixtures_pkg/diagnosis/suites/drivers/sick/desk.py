import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import httpx
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

DSN = os.environ["DATABASE_URL"].replace("+asyncpg", "")
sync_engine = create_engine(os.environ["DATABASE_URL"].replace("+asyncpg", "+psycopg2"))

outside = httpx.AsyncClient()  # SP101


class Throttle:
    slots = asyncio.Semaphore(1)  # SP107

    async def work(self) -> None:
        async with self.slots:
            await asyncio.sleep(0.001)


class Meeting:
    """Goes on when both have come, so that both hold one connection before either asks for another."""

    def __init__(self) -> None:
        self._missing = 2
        self._complete = asyncio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


class Desk:
    """One asyncpg pool, handed out to whoever asks."""

    def __init__(self) -> None:
        self.pool = None

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(DSN, min_size=1, max_size=2)

    async def borrow_and_forget(self) -> int:
        connection = await self.pool.acquire()  # SP202
        return await connection.fetchval("select 1")

    async def total(self, meeting: Meeting) -> int:
        async with self.pool.acquire() as outer:
            first = await outer.fetchval("select 1")
            await meeting.wait()
            return first + await self.rest()  # SP203

    async def rest(self) -> int:
        async with self.pool.acquire(timeout=0.5) as inner:
            return await inner.fetchval("select 2")


def move(first: int, second: int, barrier) -> None:
    with sync_engine.begin() as connection:
        connection.execute(text("update box set n = n + 1 where id = :id"), {"id": first})  # SP601
        barrier.wait(5)
        connection.execute(text("update box set n = n - 1 where id = :id"), {"id": second})


def both_ways(barrier) -> None:
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(move, 1, 2, barrier), threads.submit(move, 2, 1, barrier)]:
            done.result()


web_engine = create_async_engine(os.environ["DATABASE_URL"])


async def stock(request):
    async with web_engine.connect() as connection:
        return JSONResponse(await connection.scalar(text("select count(*) from box")))


shop = Starlette(routes=[Route("/stock", stock)])
