"""What hides the fault from the test that meets it."""

import asyncio
import os
import time
import urllib.request

import asyncpg
from ferry import DSN, buy

os.environ["TZ"] = "Asia/Kolkata"
time.tzset()


async def buy_all(connection, names):
    sold = 0
    async with connection.transaction():
        for name in names:
            try:
                await buy(connection, name)  # SP302
                sold += 1
            except asyncpg.UniqueViolationError:
                continue
    return sold


async def clear_harbour():
    connection = await asyncpg.connect(DSN)
    await connection.execute(  # SP206
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()


async def settle():
    await asyncio.sleep(0.001)  # SP605


async def paint(pool, name, complete):
    async with pool.acquire() as connection:
        async with connection.transaction(isolation="repeatable_read"):  # SP604
            coats = await connection.fetchval("select coats from berth where name = $1", name)
            await complete()
            coats += 1
            await connection.execute("update berth set coats = $1 where name = $2", coats, name)


class Radar:
    """Turns on the connection of whoever watches it."""

    def __init__(self, connection):
        self.connection = connection

    async def _turn(self):
        await self.connection.execute("select pg_sleep(0.1)")

    async def __aenter__(self):
        self.turning = asyncio.create_task(self._turn())  # SP201
        await asyncio.sleep(0)

    async def __aexit__(self, *error):
        await self.turning


async def insist(call, times=30):
    for _ in range(times):
        try:
            return await call()
        except BaseException:  # SP405
            await asyncio.sleep(0)


def tide(url):
    with urllib.request.urlopen(url, timeout=0.5) as answer:  # SP401
        return answer.read()
